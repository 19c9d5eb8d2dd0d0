"""Progress bars: on a terminal only, and only for what takes longer than a second."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_PATIENCE = 1.0
_LOOK = 0.1


@contextmanager
def advancing(words: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar before the eyes of whoever waits: call what it gives with how many more are done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(words, total=total)
    begun = monotonic()

    def advance(done: int) -> None:
        if not bar.live.is_started and monotonic() - begun > _PATIENCE:
            bar.start()
        bar.advance(task, done)

    try:
        yield advance
    finally:
        bar.stop()


def counted(items: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """The items, counted before the eyes of whoever waits for them."""
    with advancing(words, total) as advance:
        told, done = monotonic(), 0
        for item in items:
            if (now := monotonic()) - told > _LOOK:
                advance(done)
                told, done = now, 0
            yield item
            done += 1
        advance(done)


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")
