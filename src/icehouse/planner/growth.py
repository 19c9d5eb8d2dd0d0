"""Growth: the number of users in every month, from a few points of a curve."""

from __future__ import annotations

from itertools import pairwise

from icehouse.errors import RequestError
from icehouse.planner.scenario import MOST_USERS

MOST_MONTHS = 600
_SHAPE = "points must read MONTH:USERS,MONTH:USERS,…, months rising from 0"


def parse(text: str) -> list[int]:
    """The users by month that a text like `0:100,12:5000` describes; raises `RequestError`."""
    points: list[tuple[int, int]] = []
    for part in text.split(","):
        month, colon, users = (word.strip() for word in part.partition(":"))
        if not colon or not (month.isascii() and month.isdigit() and users.isascii() and users.isdigit()):
            msg = f"{_SHAPE}, not {text!r}"
            raise RequestError(msg, hint="for example --growth 0:50,24:20000,60:1000000")
        points.append((int(month), int(users)))
    return between(points)


def between(points: list[tuple[int, int]]) -> list[int]:
    """The users of every month from the first point to the last: the same growth rate between two points."""
    months = [month for month, _ in points]
    if not points or months[0] != 0 or any(b <= a for a, b in pairwise(months)):
        msg = f"{_SHAPE}, not {points}"
        raise RequestError(msg)
    if months[-1] > MOST_MONTHS:
        msg = f"growth is planned for at most {MOST_MONTHS} months, not {months[-1]}"
        raise RequestError(msg)
    wrong = next((users for _, users in points if not 1 <= users <= MOST_USERS), None)
    if wrong is not None:
        msg = f"users must be between 1 and {MOST_USERS:,}, not {wrong:,}"
        raise RequestError(msg)
    found = [points[0][1]]
    for (start, least), (end, most) in pairwise(points):
        ratio = most / least
        inner = [round(least * ratio ** (month / (end - start))) for month in range(1, end - start)]
        found += [*inner, most]
    return found
