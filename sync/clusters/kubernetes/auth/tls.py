"""The TLS context of a client: its trusted authorities and its certificate.

The official client accepts a key only from a file, which has to exist as long as the client.
"""

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from urllib3.util.ssl_ import create_urllib3_context

from sync.errors import ClusterError


def tls_context(
    authority: bytes | None, certificate: bytes | None, *, verify: bool
) -> ssl.SSLContext:
    """Make a context that verifies an API server, if wanted, and presents a client certificate.

    `authority` holds certificates in PEM, None for those that the system trusts. `certificate`
    holds one with its chain and key in PEM, None for none. Raises `ClusterError`.
    """
    context = create_urllib3_context()
    # As in Kubernetes' own clients in Go, any given certificate counts as an authority, and it
    # needs no key identifiers, which authorities of EKS do not have
    # (https://github.com/kubernetes-client/python/issues/2394).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
    elif authority is None:
        context.load_default_certs()
    else:
        try:
            # The text between certificates may be anything.
            context.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            raise ClusterError(
                "certificate-authority of the cluster holds no PEM certificate; correct it"
            ) from None
    if certificate:
        try:
            with _file_of(certificate) as name:
                # Without a password, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(name, password="")
        except ssl.SSLError:
            raise ClusterError(
                "client certificate and key are not a PEM pair without a password; renew them"
            ) from None
        except OSError as error:
            raise ClusterError(
                f"cannot keep the client key in a temporary file for a moment: {error.strerror}; "
                "make the directory of TMPDIR writable"
            ) from error
    return context


@contextmanager
def _file_of(content: bytes) -> Iterator[str]:
    """Name a file with this content for as long as the context lasts.

    OpenSSL reads keys only from files. On Linux the file is in memory: a container may have no
    writable place but the volume of its store, where no key of a cluster belongs.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("client-certificate")
        name = f"/proc/self/fd/{descriptor}"
        file = os.fdopen(descriptor, "wb")
    else:
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed below, in both cases
        name = file.name
    with file:
        file.write(content)
        file.flush()
        yield name
