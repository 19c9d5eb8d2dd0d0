"""The settings say which vault the database must hold."""

from __future__ import annotations

import logging
import re
import shutil

import pytest

from cli.test_recover import HSM
from executable import Shell, all_refused, refused
from icehouse.errors import RequestError
from icehouse.service import FrostService

ID = re.compile('^id = "([0-9a-f]{32})"$', re.MULTILINE)
COMMANDS = (
    ("users", "list"),
    ("users", "create", "eve"),
    ("users", "code", "carol"),
    ("users", "destroy", "carol", "--yes"),
    ("show", "carol"),
    ("doctor",),
    ("doctor", "--remove-orphans"),
    ("trim", "--void-backups"),
    ("rewrap",),
    ("reseal",),
    ("campaign", "start", "verify"),
    ("worker", "--once"),
    ("exchange",),
    ("store", "prepare"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def swapped(request, tmp_path) -> Shell:
    """The settings of one vault over the database of another that is in the same HSM."""
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    (tmp_path / "pin").write_text("12345\n")
    uri = f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin"
    urls = {}
    for name, user in (("vault", "alice"), ("other", "carol")):
        urls[name] = (
            request.getfixturevalue("postgresql").new_url()
            if request.param == "postgresql"
            else f"sqlite:///{tmp_path}/{name}.db"
        )
        shell.do("init", "--vault", name, "--hsm", uri, "--store", urls[name])
        shell.do("users", "create", user, "--vault", name)
    file = shell.vault / "vault.toml"
    file.write_text(file.read_text().replace(urls["vault"], urls["other"]))
    return shell


def test_a_database_of_another_vault_is_refused(swapped):
    said = all_refused(swapped, COMMANDS)

    assert all("the database holds the vault " in words for words in said)
    assert all("vault.id" in words for words in said)
    assert swapped.do("users", "list", "--vault", "other").out.count("carol") == 1


def test_a_database_that_the_environment_names_is_compared_as_well(shell):
    shell.do("init", "--vault", "other")
    shell.environment["ICEHOUSE_STORE__URL"] = f"sqlite:///{shell.directory}/other/vault.db"

    assert "the database holds the vault " in refused(shell, "users", "list")


def test_init_writes_the_id_and_a_move_keeps_it(shell):
    before = ID.search((shell.vault / "vault.toml").read_text())[1]
    (shell.directory / "two.pin").write_text("12345\n")
    uri = f"simulated:{shell.directory}/two.token?pin-source=file:{shell.directory}/two.pin"
    shell.script("-c", f"from icehouse.hsm import open_hsm; open_hsm({uri!r}, create=True)")
    shell.do("rewrap", "--to", uri)

    assert shell.do("doctor", "--format", "json").json["vault"] == before
    assert ID.search((shell.vault / "vault.toml").read_text())[1] == before


def test_recover_writes_the_id(empty):
    made = empty.do("init", "--custody", "hierarchical", "--buckets", "3", "--format", "json").json["vault"]
    (empty.directory / "users.json").write_text("[]")
    (empty.directory / "hsm").mkdir()
    for name in ("hsm.token", "hsm.pin"):
        (empty.vault / name).rename(empty.directory / "hsm" / name)
    shutil.rmtree(empty.vault)
    empty.do("recover", "--hsm", HSM, "--vault-id", made, "--users", "users.json", "--buckets", "3")

    assert ID.search((empty.vault / "vault.toml").read_text())[1] == made


@pytest.mark.parametrize("wrong", ["", "ff", "g" * 32, "AB" * 16, "0" * 33])
def test_an_id_that_is_none_is_refused_with_what_it_must_be(shell, wrong):
    file = shell.vault / "vault.toml"
    file.write_text(ID.sub(f'id = "{wrong}"', file.read_text()))
    if not wrong:
        assert "does not say which vault" in shell.do("users", "list").err
        return

    assert "vault.id must be 32 hexadecimal digits" in refused(shell, "users", "list")


def test_settings_without_the_id_open_and_say_once_how_to_add_it(shell, caplog):
    file = shell.vault / "vault.toml"
    vault_id = ID.search(file.read_text())[1]
    file.write_text(file.read_text().replace(f'[vault]\nid = "{vault_id}"\n', ""))
    with caplog.at_level(logging.WARNING, logger="icehouse"):
        for _ in range(3):
            FrostService.open(shell.vault).close()
    told = [record.getMessage() for record in caplog.records if "does not say which vault" in record.getMessage()]
    said = shell.do("users", "list").err

    assert len(told) == 1
    assert f'[vault] and id = "{vault_id}"' in told[0]
    assert said.count("does not say which vault") == 1
    file.write_text(file.read_text() + f'[vault]\nid = "{vault_id}"\n')
    assert "does not say which vault" not in shell.do("users", "list").err


def test_a_library_refuses_it_too(shell):
    file = shell.vault / "vault.toml"
    file.write_text(ID.sub(f'id = "{"0" * 32}"', file.read_text()))

    with pytest.raises(RequestError, match=f"the settings are those of the vault {'0' * 32}"):
        FrostService.open(shell.vault)
