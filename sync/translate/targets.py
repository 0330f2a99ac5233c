"""Whether a rule counts here, by the firewalls that it is for."""

from collections.abc import Collection

from sync.firewall.reasons import Reason
from sync.firewall.rules import EVERYWHERE as EVERY_FIREWALL
from sync.firewall.rules import Target
from sync.translate.fidelity import Loss, Status, loss


def targeted(
    target: Target, firewalls: Collection[str], *, allow: bool
) -> tuple[bool, tuple[Loss, ...]]:
    """Whether a rule counts here, and the losses if only some firewalls have it.

    `firewalls` are the serial numbers that count; none: any may.
    """
    if target == EVERY_FIREWALL:
        return True, ()
    if target.negate and not target.devices and not target.tags:
        return False, ()  # all firewalls except all of them
    ours = {*firewalls}
    whole = {serial for serial, systems in target.devices if not systems}
    named = {serial for serial, _ in target.devices}
    if target.tags or not ours:
        surely, maybe = False, True
    elif target.negate:
        surely, maybe = not ours & named, bool(ours - whole)
    else:
        surely, maybe = ours <= whole, bool(ours & named)
    if surely or not maybe:
        return surely, ()
    status = Status.LEFT_OUT if allow else Status.WIDENED
    which = "leave out" if allow else "be only some of the"
    reason = f"its target may {which} firewalls that the clusters stand for"
    kinds = [Reason.TARGET] * (not ours) + [Reason.TARGET_TAGS] * bool(target.tags)
    return not allow, (loss(status, reason, *(kinds or [Reason.TARGET_SOME])),)
