"""Why a call failed, in the words of the network and of servers."""

import math
import ssl
from http.client import HTTPException

from urllib3.exceptions import HTTPError, ReadTimeoutError

from sync.redaction import redact


def deepest(error: BaseException) -> BaseException:
    """Find the error of the network or of TLS below the errors that were raised from it."""
    found, each = error, error.__cause__ or error.__context__
    while each is not None:
        if isinstance(each, OSError | HTTPException):
            found = each
        each = each.__cause__ or each.__context__
    return found


def certificate_refusal(reason: BaseException) -> str:
    """Return why a server's certificate is refused; empty if `reason` is another error."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return reason.verify_message.rstrip(".")
    return ""


def own_words(reason: BaseException) -> str:
    """Describe a failed call in the system's own words; a proxy's own words may be in it.

    The words of urllib3 hold what was asked, those of http.client what was answered.
    """
    said = getattr(reason, "strerror", None) or (str(reason) if isinstance(reason, OSError) else "")
    return redact(said) or type(reason).__name__.lstrip("_")


def silent(error: HTTPError) -> bool:
    """Whether the read timed out.

    Where a read may wait as long as the whole call, chance decides which limit ends it.
    """
    return isinstance(error, ReadTimeoutError)


def retry_after(text: str, longest: float) -> float:
    """Read the seconds of a `Retry-After`, `longest` at most; 0 for a date, or anything else."""
    try:
        asked = float(text)
    except ValueError:
        return 0
    return min(max(asked, 0), longest) if math.isfinite(asked) else 0
