"""A module with odd habits and a token behind it, for one test."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from itertools import count

import pytest

from icehouse.hsm import Hsm, open_hsm
from servers.odd import odd_module

_NUMBERS = count(1)


@pytest.fixture
def odd(softhsm):
    made = odd_module(softhsm, softhsm.directory / f"odd-{next(_NUMBERS)}")
    yield made
    # Tokens that stay would slow down every later start of SoftHSM.
    shutil.rmtree(made.token.directory, ignore_errors=True)


@pytest.fixture
def opened():
    """Opens a URI; whatever was opened is closed when the test ends."""
    with ExitStack() as stack:

        def opener(uri: str) -> Hsm:
            return stack.enter_context(closing(open_hsm(uri)))

        yield opener
