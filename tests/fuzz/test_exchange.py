"""Messages that nearly fit: some of the million that `make soak` sends."""

from __future__ import annotations

import logging

import pytest

from fuzz.exchange import Fuzz

MESSAGES = 15_000
SERVED = {"offer", "cosigned", "committed", "abandoned", "state"}
REFUSED = {
    "malformed",
    "suspended",
    "wrong-epoch",
    "conflict",
    "not-the-proof",
    "reserved",
    "not-the-offer",
    "bad-proof",
}
BARE = {f"bare:{reason}" for reason in ("malformed", "unknown-key", "unknown-epoch", "bad-mac", "unavailable")}


@pytest.fixture
def fuzz(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL + 1, logger="icehouse")
    made = Fuzz(tmp_path / "street", seed=14)
    yield made
    made.street.close()


def test_no_message_raises_hangs_or_changes_what_an_honest_one_would_not(fuzz):
    seen = fuzz.run(MESSAGES)

    assert seen.wrong == []
    assert seen.bent > MESSAGES // 20
    assert set(seen.answers) <= SERVED | REFUSED | BARE
    assert set(seen.answers) >= SERVED | BARE | (REFUSED - {"reserved"})  # so that it goes beyond the first check
