"""What a whole test run has once."""

from __future__ import annotations

import pytest

from softhsm import SoftHsm


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory) -> SoftHsm:
    """The one SoftHSM of this process, which reads where its tokens are only once."""
    return SoftHsm(tmp_path_factory.mktemp("softhsm") / "here")
