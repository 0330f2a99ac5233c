"""What has to agree before a plan is written: those who are shown it or reviewed it.

    plan, made under the lease  ->  agreed(plan)  ->  written, or `PlanDiffersError` and left

The cluster, the sources or an approval may have changed since a plan was shown. So the plan that is
about to be written is made again under the lease, and compared by its digest.
"""

from collections.abc import Callable

from sync.errors import ZonebridgeError
from sync.plan.plan import Plan

Agreed = Callable[[Plan], None]
"""Called under the lease with each plan before it is written; raises `PlanDiffersError`."""


class PlanDiffersError(ZonebridgeError):
    """The plan is another one than the one that was shown or reviewed; it was not written."""

    exit_code = 3


def always(plan: Plan) -> None:
    """Agree to any plan: the service writes what its configuration says."""
    del plan
