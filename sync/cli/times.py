"""Times on the command line: dates, times, and how long ago."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_AGO = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _now() -> datetime:
    return datetime.now(UTC)


class Time(click.ParamType[datetime]):
    """A date or a time, ISO 8601 (without an offset it is UTC), or how long ago: 30m, 1h, 7d."""

    name = "time"

    def __init__(self, now: Callable[[], datetime] = _now) -> None:
        self._now = now

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        ago = _AGO.fullmatch(value)
        try:
            if ago:
                return self._now() - timedelta(**{_UNITS[ago["unit"]]: int(ago["number"])})
            time = datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time; write 2026-03-03 or 2026-03-03T14:00:00Z, or how long "
                "ago: 30m, 1h, 7d",
                param,
                ctx,
            )
