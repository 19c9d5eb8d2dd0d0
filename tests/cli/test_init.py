"""`icehouse init`: whole or not at all, never over anything, finished by a repetition."""

from __future__ import annotations

import signal
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from executable import KILLED, Shell, all_refused, refused
from icehouse.errors import SealError
from icehouse.service import FrostService
from icehouse.vault.init import MODULE as MODULE_INSIDE
from icehouse.vault.init import STORE, make_vault
from icehouse.vault.settings import Settings
from softhsm import MODULE


def test_the_simulated_module_lies_in_the_vault_with_a_pin_for_its_owner_and_a_warning(empty):
    done = empty.do("init")

    assert sorted(path.name for path in empty.vault.iterdir()) == [
        "hsm.pin", "hsm.token", "hsm.token.lock", "vault.db", "vault.toml"
    ]  # fmt: skip
    assert (empty.vault / "hsm.pin").stat().st_mode & 0o777 == 0o600
    assert "FOR TRYING ONLY" in done.err


def test_a_vault_may_be_moved_with_its_directory(empty):
    empty.do("init")
    empty.do("users", "create", "alice")
    empty.vault.rename(empty.directory / "moved")

    assert "alice" in empty.do("users", "list", "--vault", "moved").out


def test_the_settings_name_the_vault_that_was_printed(empty):
    made = empty.do("init", "--format", "json").json
    text = (empty.vault / "vault.toml").read_text()

    assert text.startswith(f"# vault {made['vault']}\n")
    assert made["settings"] == str(empty.vault / "vault.toml")
    assert tomllib.loads(text)["store"] == {"url": "sqlite:///vault.db"}


def test_no_vault_is_made_over_another(shell):
    assert "there is a vault already" in refused(shell, "init")


def test_no_vault_is_made_over_the_database_of_another(shell):
    said = refused(shell, "init", "--vault", "second", "--store", "sqlite:///vault/vault.db")

    assert "the database holds a vault already" in said


@pytest.mark.parametrize("name", ["hsm.pin", "hsm.token"])
def test_no_file_of_someone_else_is_taken_for_the_modules(empty, name):
    empty.vault.mkdir()
    (empty.vault / name).write_text("mine")

    assert f"{name} exists already" in refused(empty, "init")


def test_relative_paths_are_relative_to_where_they_are_typed(empty):
    (empty.directory / "pin").write_text("1234\n")
    empty.do("init", "--hsm", "simulated:token?pin-source=file:pin", "--store", "sqlite:///elsewhere.db")

    assert (empty.directory / "token").exists()
    assert (empty.directory / "elsewhere.db").exists()
    assert empty.do("users", "list").out == ""


def test_a_space_and_a_quote_in_a_path_do_no_harm(empty):
    place = empty.directory / 'a "quoted" né space'
    empty.do("init", "--vault", place)
    empty.do("users", "create", "alice", "--vault", place)

    assert "alice" in empty.do("users", "list", "--vault", place).out


def test_an_hsm_in_memory_is_refused_for_a_vault_that_outlives_it(empty):
    assert "forgets its keys" in refused(empty, "init", "--hsm", "simulated:")


def test_two_hsms_hold_one_root_key_each(empty):
    for name in ("one", "two"):
        (empty.directory / f"{name}.pin").write_text(f"{name}\n")
    uris = [f"simulated:{name}.token?pin-source=file:{name}.pin" for name in ("one", "two")]
    empty.do("init", "--hsm", uris[0], "--claim-hsm", uris[1])
    empty.do("users", "create", "alice")
    (empty.directory / "two.token").unlink()

    assert "two.token" in refused(empty, "users", "list", code=2)


IMPOSSIBLE = [
    "nonsense",
    "yubihsm:1",
    "simulated:token",
    "simulated:token?pin-source=file:missing",
    "simulated:token?pin-value=1234",
    "pkcs11:token=x?module-path=/missing.so&pin-source=file:pin",
    "pkcs11:token=x?module-path=/etc/hostname&pin-source=file:pin",
    f"pkcs11:token=x?module-path={MODULE.parent}&pin-source=file:pin",
    "pkcs11:token=x",
]


def test_an_hsm_that_cannot_be_is_refused_and_nothing_is_left(empty):
    (empty.directory / "pin").write_text("1234\n")

    all_refused(empty, [("init", "--vault", number, "--hsm", uri) for number, uri in enumerate(IMPOSSIBLE)])


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite:////missing/directory/x.db"])
def test_a_store_that_cannot_be_is_refused_and_nothing_is_left(empty, url):
    done = empty.run("init", "--store", url)

    assert done.code in {1, 2}
    assert len(done.errors) == 1
    assert empty.contents() == {}


def test_a_real_token_serves_and_a_wrong_pin_is_called_so(empty, softhsm):
    token = softhsm.new_token("cli")
    empty.do("init", "--hsm", token.uri)
    empty.do("users", "create", "alice")
    token.pin_file.write_text("wrong\n")
    said = refused(empty, "users", "create", "carol", code=2)

    assert "PIN" in said


def test_the_wrong_pin_of_the_simulated_module_is_called_so(shell):
    (shell.vault / "hsm.pin").write_text("wrong\n")
    said = refused(shell, "users", "create", "carol", code=2)

    assert "PIN" in said


def test_of_two_at_once_one_makes_the_vault(empty):
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda _: empty.run("init"), range(4)))

    assert sorted(done.code for done in ended) == [0, 1, 1, 1]
    assert empty.run("doctor").code == 0


@pytest.mark.parametrize("limit", [0, 40, 300, 5000, 20000])
def test_on_a_full_disk_nothing_is_left(empty, limit):
    full = Shell(empty.directory, empty.environment, ("prlimit", f"--fsize={limit}"))

    refused(full, "init", code=2)


def test_whenever_it_is_killed_the_same_command_again_finishes_it(empty):
    (empty.directory / "killed.py").write_text(KILLED)
    codes, finished = [], 0
    for step in range(1, 30):
        place = str(empty.directory / f"vault{step}")
        killed = empty.script("killed.py", step, "init", "--vault", place)
        codes.append(killed.code)
        if killed.code == 0:
            break
        finished += not (Path(place) / "vault.toml").exists()
        if not (Path(place) / "vault.toml").exists():
            make_vault(Path(place), Settings(STORE, MODULE_INSIDE))
        with FrostService.open(place) as frost:
            frost.create_users(["alice"])
            assert not [finding for finding in frost.examine() if isinstance(finding, SealError)]
        assert not [path for path in Path(place).iterdir() if "unfinished" in path.name]

    assert codes[-1] == 0
    assert finished > 5
    assert set(codes[:-1]) == {-signal.SIGKILL}


def test_an_unfinished_init_is_not_finished_with_other_settings(empty):
    (empty.directory / "killed.py").write_text(KILLED)
    empty.script("killed.py", 5, "init")

    assert "has other settings" in refused(empty, "init", "--store", "sqlite:///other.db")
