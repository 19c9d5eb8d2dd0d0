"""The simulated HSM's file: never half written, never overwritten, shared by processes."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import KeyKind, open_hsm


@pytest.fixture
def uri(tmp_path):
    (tmp_path / "pin").write_text("648219")
    return f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin"


def test_a_token_file_is_made_once_and_never_overwritten(uri, tmp_path):
    open_hsm(uri, create=True).create_key("key", KeyKind.AES)
    before = (tmp_path / "token").read_bytes()

    with pytest.raises(RequestError, match="nothing is ever overwritten"):
        open_hsm(uri, create=True)
    assert (tmp_path / "token").read_bytes() == before


def test_a_token_that_was_never_made_is_away_and_not_made_by_opening_it(uri, tmp_path):
    with pytest.raises(HsmUnavailableError, match="No such file") as caught:
        open_hsm(uri)
    assert "must be created first" in caught.value.hint

    assert sorted(path.name for path in tmp_path.iterdir()) == ["pin"]


def test_a_token_file_is_readable_by_its_owner_only_and_leaves_no_other_file(uri, tmp_path):
    hsm = open_hsm(uri, create=True)
    for number in range(3):
        hsm.create_key(f"key-{number}", KeyKind.AES)

    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pin", "token", "token.lock"]


def test_whoever_opens_a_token_writes_after_the_others_and_loses_none_of_their_keys(uri):
    open_hsm(uri, create=True)

    def make(number: int) -> None:
        open_hsm(uri).create_key(f"key-{number}", KeyKind.AES)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(12)))
    assert len(open_hsm(uri).keys("key-")) == 12


@pytest.mark.parametrize("content", [b"", b"text", b"age-encryption.org/v1\n"])
def test_a_file_that_is_no_token_is_refused(uri, tmp_path, content):
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(HsmRefusedError, match="not a token file"):
        open_hsm(uri)


def test_a_bent_token_file_is_refused(uri, tmp_path):
    open_hsm(uri, create=True).create_key("key", KeyKind.AES)
    content = bytearray((tmp_path / "token").read_bytes())
    for position in (0, len(content) // 2, len(content) - 1):
        bent = bytearray(content)
        bent[position] ^= 1
        (tmp_path / "token").write_bytes(bent)
        with pytest.raises(HsmRefusedError):
            open_hsm(uri)
