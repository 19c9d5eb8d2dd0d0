"""`icehouse` with a vault's directory here and its rows in PostgreSQL."""

from __future__ import annotations

import pytest

from executable import Shell


@pytest.fixture
def shell(tmp_path) -> Shell:
    return Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})


def test_a_vault_lives_its_life_in_postgresql(shell, postgresql):
    url = postgresql.new_url()
    shell.do("init", "--store", url)
    shell.do("users", "create", "alice", "bob")
    shell.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", shell.token("alice"))
    shell.do("sign", "--text", "hello", "--device", "alice.device")
    shell.do("rewrap")
    shell.do("rotate", "--device", "alice.device")
    doctor = shell.do("doctor", "--format", "json")

    assert (doctor.json["users"], doctor.json["findings"]) == (2, [])
    assert [warning for warning in doctor.json["warnings"] if "this role can change the schema" in warning]
    assert "warning: this role can change the schema" in doctor.err
    assert f'url = "{url}"' in (shell.vault / "vault.toml").read_text()


def test_a_second_vault_in_the_same_schema_is_refused(shell, postgresql, tmp_path):
    url = postgresql.new_url()
    shell.do("init", "--store", url)
    again = shell.run("init", "--store", url, "--vault", tmp_path / "other")

    assert (again.code, again.errors) == (1, ["icehouse: error: the database holds a vault already"])
    assert not (tmp_path / "other").exists()


def test_a_password_in_an_argument_is_refused_and_not_repeated(shell, postgresql):
    url = postgresql.new_url().replace("postgres@", "postgres:hunter2@")
    for command in (("init",), ("store", "prepare")):
        done = shell.run(*command, "--store", url)

        assert done.code == 1
        assert "a password must not be an argument" in done.err
        assert "hunter2" not in done.err + done.out
    assert not shell.vault.exists()


def test_tables_are_prepared_by_their_owner_and_a_vault_is_made_by_the_role_that_serves_it(shell, postgresql):
    url = postgresql.new_url()
    postgresql.admin("CREATE ROLE serving LOGIN")
    shell.do("store", "prepare", "--store", url, "--role", "serving")
    shell.do("store", "prepare", "--store", url, "--role", "serving")
    shell.do("init", "--store", url.replace("postgres@", "serving@"))
    shell.do("users", "create", "alice")
    doctor = shell.do("doctor", "--format", "json")

    assert doctor.json["users"] == 1
    assert not [warning for warning in doctor.json["warnings"] if "schema" in warning]


def test_a_role_without_rights_is_told_what_it_lacks(shell, postgresql):
    url = postgresql.new_url()
    postgresql.admin("CREATE ROLE outsider LOGIN")
    done = shell.run("init", "--store", url.replace("postgres@", "outsider@"))

    assert done.code == 2
    assert "icehouse: hint: grant the role what it needs" in done.err
    assert not shell.vault.exists()


def test_a_database_that_is_away_ends_a_command_with_2_and_the_next_one_works(shell, postgresql):
    shell.do("init", "--store", postgresql.new_url())
    postgresql.stop()
    try:
        done = shell.run("users", "create", "alice")
    finally:
        postgresql.start()

    assert done.code == 2
    assert done.errors[0].startswith("icehouse: error: the database failed")
    assert shell.do("users", "create", "alice").code == 0
