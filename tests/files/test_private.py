"""What is made through Python, or in a shell with the usual umask, is its owner's alone."""

from __future__ import annotations

import os
import stat

import pytest

from executable import Shell, refused
from icehouse import create_hsm_frost
from icehouse.hsm import open_hsm
from icehouse.store.engine import Database

PRIVATE = 0o600


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=["022", "000", "077"])
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


@pytest.mark.parametrize("url", ["sqlite:///{}/vault.db", "sqlite:///file:{}/vault.db?uri=true"])
@pytest.mark.usefixtures("_umask")
def test_a_database_made_through_python_and_its_journals_are_its_owners(tmp_path, url):
    (tmp_path / "pin").write_text("648219")
    (tmp_path / "pin").chmod(PRIVATE)
    config = {"path": tmp_path / "token", "pin_source": tmp_path / "pin"}
    open_hsm(f"simulated:{tmp_path}/token?pin-source=file:{tmp_path}/pin", create=True)
    with create_hsm_frost("simulated", config, store=url.format(tmp_path)) as service:
        service.create_users(["alice"])
        during = modes(tmp_path)

    assert {"vault.db", "vault.db-wal", "vault.db-shm"} < set(during)
    assert set(during.values()) == {PRIVATE}


@pytest.mark.usefixtures("_umask")
def test_a_database_behind_a_link_is_its_owners_too(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here" / "vault.db").symlink_to(tmp_path / "there" / "vault.db")
    database = Database(f"sqlite:///{tmp_path}/here/vault.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    during = modes(tmp_path / "there")
    database.close()

    assert during == {"vault.db": PRIVATE, "vault.db-wal": PRIVATE, "vault.db-shm": PRIVATE}


def test_a_database_that_is_there_keeps_the_mode_that_its_operator_gave_it(tmp_path):
    (tmp_path / "vault.db").touch()
    (tmp_path / "vault.db").chmod(0o640)
    database = Database(f"sqlite:///{tmp_path}/vault.db")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    database.close()

    assert modes(tmp_path) == {"vault.db": 0o640}


def test_a_database_that_is_only_read_is_not_made(tmp_path):
    database = Database(f"sqlite:///file:{tmp_path}/vault.db?uri=true&mode=ro")
    with pytest.raises(Exception, match="unable to open"), database.read():
        pass
    database.close()

    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    directory = tmp_path_factory.mktemp("place")
    made = Shell(directory, {"ICEHOUSE_VAULT": str(directory / "vault")})
    made.do("init")
    made.do("users", "create", "alice")
    return made


def test_a_code_that_is_written_to_a_file_is_nobody_elses_and_not_printed(shell):
    done = shell.do("users", "code", "alice", "--output", "alice.token")
    file = shell.directory / "alice.token"

    assert stat.S_IMODE(file.stat().st_mode) == PRIVATE
    assert done.out == ""
    assert file.read_text().strip() not in done.err
    assert shell.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", file).code == 0


def test_a_code_is_neither_minted_nor_written_where_something_is_in_its_place(shell):
    shell.do("users", "create", "bob")
    shell.do("users", "code", "bob", "--output", "bob.token")
    (shell.directory / "link.token").symlink_to("nowhere")
    for taken in ("bob.token", "link.token"):
        assert "exists already" in refused(shell, "users", "code", "bob", "--output", taken)
    assert "cannot be written" in refused(shell, "users", "code", "bob", "--output", "nowhere/bob.token")

    # The first code is in force still.
    shell.do("device", "enrol", "bob", "--device", "bob.device", "--token-file", "bob.token")
