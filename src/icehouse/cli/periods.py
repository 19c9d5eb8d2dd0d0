"""Periods and days as people type them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from icehouse.errors import RequestError

_PERIOD = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EPOCH = date(1970, 1, 1)


def period(name: str, text: str) -> int:
    """Seconds of a period such as 90d or 12h; raises `RequestError`."""
    found = _PERIOD.fullmatch(text)
    if found is None:
        msg = f"{name} must be a number with s, m, h or d, such as 90d, not {text!r}"
        raise RequestError(msg)
    return int(found[1]) * _SECONDS[found[2]]


def day_of(name: str, text: str) -> int:
    """The number, since 1970, of a day such as 2027-01-31; raises `RequestError`."""
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        msg = f"{name} must be a day such as {datetime.now(UTC).date().isoformat()}, not {text!r}"
        raise RequestError(msg) from None


def named_day(number: int) -> str:
    """The day of a number since 1970, as people read it."""
    return date.fromordinal(_EPOCH.toordinal() + number).isoformat()
