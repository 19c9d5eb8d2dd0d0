"""Random histories of `up`, `down`, `status` and of somebody else in the account, against the control plane.

Fifty here; `make soak` runs five hundred.
"""

from __future__ import annotations

import os

import pytest

from servers.cloudhsm_history import History
from servers.cloudhsm_trial import PASSPHRASE

HISTORIES = int(os.environ.get("HISTORIES", "50"))


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_more_is_made_than_was_agreed_to_and_nothing_that_bills_is_left_unsaid(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("ICEHOUSE_PASSPHRASE", PASSPHRASE)

    History(seed, tmp_path, monkeypatch).go()
