"""Bulk creation: in memory, and sealed and durable, with increasing and with random names."""

from __future__ import annotations

import uuid
from time import perf_counter
from typing import TYPE_CHECKING

from icehouse._core import DataKey, deal_page
from icehouse.model import DEFAULT_SUITE, RECORDS_PER_DATA_KEY, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse import FrostService

_PAGES = 8


def increasing_names(first: int, count: int) -> Iterator[str]:
    """Names as a sequence gives them."""
    return map(increasing_name, range(first, first + count))


def increasing_name(number: int) -> str:
    """One of them."""
    return f"user-{number:012d}"


def random_names(first: int, count: int) -> Iterator[str]:
    """UUIDs."""
    return (str(uuid.uuid4()) for _ in range(first, first + count))


def dealt_in_memory() -> float:
    """Microseconds to deal a user's key and to seal both shares, in pages, with no database."""
    keys = (1, DataKey.random()), (2, DataKey.random())
    users = list(random_names(0, RECORDS_PER_DATA_KEY))
    start = perf_counter()
    for _ in range(_PAGES):
        deal_page(bytes(16), DEFAULT_SUITE, SERVER, "dealer", False, *keys, users)  # noqa: FBT003  the core's order
    return (perf_counter() - start) * 1e6 / (_PAGES * len(users))


def created(service: FrostService, users: Iterator[str], count: int) -> float:
    """Microseconds to create a user in this vault, everything included."""
    start = perf_counter()
    service.create_users(users)
    return (perf_counter() - start) * 1e6 / count
