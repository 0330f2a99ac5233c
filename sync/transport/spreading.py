"""How intervals differ from one process to the next."""

import random


def sooner(seconds: float) -> float:
    """Up to a tenth sooner, and never twice the same: several processes must not act in step."""
    return seconds * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
