"""Sessions are lost under eight threads, again and again: right answers only, nothing left open.

A minute of it on each provider: `make soak`.
"""

from __future__ import annotations

from integration.providers.soak import soak

SECONDS = 3
MOST_HELD = 16


def test_eight_threads_get_right_answers_while_sessions_are_lost_again_and_again(adapter):
    seen = soak(adapter, SECONDS)

    assert not seen.wrong
    assert seen.left == 0
    assert seen.most_held <= MOST_HELD
    assert seen.operations > 100
    assert seen.losses >= 3
