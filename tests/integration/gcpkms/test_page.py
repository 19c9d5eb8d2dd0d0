"""The how-to names every permission that icehouse needs, and the roles that have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from icehouse.hsm.gcpkms.wire import RIGHTS

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "google-cloud-hsm.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", sorted({word for rights in RIGHTS.values() for word in rights}))
def test_every_permission_and_role_is_on_the_page(word):
    assert f"`{word}`" in PAGE
