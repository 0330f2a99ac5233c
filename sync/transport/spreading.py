"""Jitter, so that intervals differ between processes."""

import random


def sooner(seconds: float) -> float:
    """Shorten an interval by up to a tenth, at random: processes must not act in step."""
    return seconds * random.uniform(0.9, 1.0)  # noqa: S311 - no secret
