"""Doing one step after another towards a goal, each decided by what AWS says at that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse.errors import HsmUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from icehouse.trial_cluster.aws import Aws

_MOST_FAILURES = 5


def until_done(aws: Aws, step: Callable[[], bool]) -> None:
    """Repeat a step until it says that nothing is left to do.

    Every step looks before it acts. So whatever AWS could not answer just now, or did without saying so, is mended by
    another look. Raises `HsmUnavailableError` after five failures in a row.
    """
    failures = 0
    while True:
        try:
            if step():
                return
            failures = 0
        except HsmUnavailableError:
            failures += 1
            if failures == _MOST_FAILURES:
                raise
        aws.wait()
