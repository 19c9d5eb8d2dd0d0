"""A file of ours that is reached through a link: the file is written, never the link, and it has one lock."""

from __future__ import annotations

import os

import pytest

from files.conftest import PASSPHRASE
from icehouse import FrostService
from icehouse._core import Passphrase
from icehouse.device.device import Device
from icehouse.errors import ConflictError, HsmRefusedError, RequestError, StoreError
from icehouse.hsm import KeyKind, open_hsm
from icehouse.trial_cluster.record import Notebook
from icehouse.vault import settings
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings


@pytest.fixture
def link(enrolled, tmp_path):
    """A link to alice's device, elsewhere."""
    made = tmp_path / "elsewhere"
    made.symlink_to(enrolled)
    return made


@pytest.fixture
def token(tmp_path):
    """A simulated HSM's file, and how it is opened by a path."""
    (tmp_path / "pin").write_text("648219")
    (tmp_path / "pin").chmod(0o600)
    (tmp_path / "home").mkdir(exist_ok=True)

    def opens(path, *, create=False):
        return open_hsm(f"simulated:{path}?pin-source=file:{tmp_path}/pin", create=create)

    opens(tmp_path / "home" / "token", create=True)
    return opens


def test_a_rotation_through_a_link_changes_the_device_and_leaves_the_link(service, enrolled, link, opened):
    device = opened(link)
    device.rotate(service)
    device.close()

    assert link.is_symlink()
    assert opened(enrolled).epoch == 2


def test_a_device_has_one_lock_under_all_its_names(enrolled, link, opened):
    opened(link)

    with pytest.raises(ConflictError, match="is open in another process"):
        opened(enrolled)
    assert not (link.parent / f".{link.name}.lock").exists()


def test_a_device_stays_where_it_is_although_its_link_is_turned_elsewhere_and_its_process_moves(
    service, enrolled, link, opened, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    device = opened(link.relative_to(tmp_path))
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir("/")
    device.rotate(service)
    device.close()

    assert opened(enrolled).epoch == 2
    assert not (tmp_path / "nowhere").exists()


def test_a_new_device_is_not_written_through_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    with pytest.raises(ConflictError, match="exists already"):
        Device.create("bob", path=tmp_path / "link", passphrase=Passphrase(PASSPHRASE), work_factor=1)
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_device_with_two_names_is_not_opened_and_its_names_stay_one_file(enrolled, opened, tmp_path):
    os.link(enrolled, tmp_path / "second")

    with pytest.raises(RequestError, match="2 names") as caught:
        opened(enrolled)
    assert f"find / -xdev -samefile {enrolled}" in caught.value.hint
    assert enrolled.samefile(tmp_path / "second")


def test_a_second_name_that_an_open_device_is_given_keeps_no_dead_share(service, enrolled, opened, tmp_path):
    device = opened(enrolled)
    os.link(enrolled, tmp_path / "second")
    with pytest.raises(StoreError, match="2 names"):
        device.rotate(service)
    (tmp_path / "second").unlink()
    device.rotate(service)
    device.close()

    assert opened(enrolled).epoch == 2


def test_keys_of_a_software_token_are_made_in_the_file_that_its_link_leads_to(token, tmp_path):
    home = tmp_path / "home" / "token"
    (tmp_path / "link").symlink_to(home)
    by_link, by_name = token(tmp_path / "link"), token(home)
    by_link.create_key("first", KeyKind.AES)
    by_name.create_key("second", KeyKind.AES)
    by_link.create_key("third", KeyKind.AES)

    assert [key.label for key in token(home).keys("")] == ["first", "second", "third"]
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "link.lock").exists()


def test_no_key_is_made_in_a_token_that_has_a_second_name(token, tmp_path):
    home = tmp_path / "home" / "token"
    os.link(home, tmp_path / "second")

    with pytest.raises(HsmRefusedError, match="2 names"):
        token(home).create_key("key", KeyKind.AES)
    assert token(tmp_path / "second").keys("") == []


def test_settings_are_written_where_their_link_leads(tmp_path):
    make_vault(tmp_path / "vault", Settings(STORE, MODULE))
    (tmp_path / "vault" / "vault.toml").rename(tmp_path / "real.toml")
    (tmp_path / "vault" / "vault.toml").symlink_to(tmp_path / "real.toml")
    file = tmp_path / "vault" / "vault.toml"
    before = settings.read(file)
    after = Settings(STORE, MODULE, cache_keys=7)
    settings.rewrite(file, after, before)

    assert file.is_symlink()
    assert settings.read(tmp_path / "real.toml") == after


def test_settings_with_a_second_name_are_not_rewritten(tmp_path):
    make_vault(tmp_path / "vault", Settings(STORE, MODULE))
    file = tmp_path / "vault" / "vault.toml"
    os.link(file, tmp_path / "second.toml")
    before = settings.read(file)

    with pytest.raises(StoreError, match="2 names"):
        settings.rewrite(file, Settings(STORE, MODULE, cache_keys=7), before)
    assert settings.read(file) == before


def test_no_vault_is_made_over_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "vault.toml").symlink_to(tmp_path / "nowhere")

    with pytest.raises(ConflictError, match="there is a vault already"):
        make_vault(tmp_path / "vault", Settings(STORE, MODULE))
    assert [path.name for path in (tmp_path / "vault").iterdir()] == ["vault.toml"]


def test_what_a_trial_keeps_is_written_where_its_link_leads_and_truncates_nothing_on_the_way(tmp_path):
    notebook = Notebook(tmp_path / "run")
    (tmp_path / "victim").write_text("not ours")
    with notebook.held():
        notebook.keep("kept", b"first")
    (tmp_path / "run" / "kept").rename(tmp_path / "real")
    (tmp_path / "run" / "kept").symlink_to(tmp_path / "real")
    (tmp_path / "run" / "kept.new").symlink_to(tmp_path / "victim")
    with notebook.held():
        notebook.keep("kept", b"second")

    assert (tmp_path / "real").read_bytes() == b"second"
    assert (tmp_path / "run" / "kept").is_symlink()
    assert (tmp_path / "victim").read_text() == "not ours"


@pytest.mark.parametrize("lock", ["run/.lock"])
def test_a_lock_is_never_taken_through_a_link(tmp_path, lock):
    (tmp_path / "victim").write_text("not ours")
    (tmp_path / "run").mkdir()
    (tmp_path / lock).symlink_to(tmp_path / "victim")

    with pytest.raises(RequestError, match="cannot be used"), Notebook(tmp_path / "run").held():
        pass
    assert (tmp_path / "victim").read_text() == "not ours"


def test_a_database_with_a_second_name_is_not_opened(tmp_path):
    make_vault(tmp_path / "vault", Settings(STORE, MODULE))
    database = tmp_path / "vault" / "vault.db"
    os.link(database, tmp_path / "second.db")

    with pytest.raises(StoreError, match="2 names"):
        FrostService.open(tmp_path / "vault")
    (tmp_path / "second.db").unlink()
    FrostService.open(tmp_path / "vault").close()
