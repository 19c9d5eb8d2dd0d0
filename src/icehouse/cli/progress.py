"""Progress bars: on a terminal only, and only for what takes longer than a second."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")
_PATIENCE = 1.0


def counted(items: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """The items, counted before the eyes of whoever waits for them."""
    if not sys.stderr.isatty():
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(words, total=total)
    begun = monotonic()
    try:
        for item in items:
            if not bar.live.is_started and monotonic() - begun > _PATIENCE:
                bar.start()
            yield item
            bar.advance(task)
    finally:
        bar.stop()
