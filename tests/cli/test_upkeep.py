"""`icehouse rewrap`, `reseal` and `trim`: root keys and data keys change, devices notice nothing."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tomllib
from contextlib import closing

import pytest

from executable import KILLED, Shell, all_refused, refused
from icehouse.hsm import open_hsm
from icehouse.service import FrostService


@pytest.fixture
def target(shell) -> str:
    """Another module, as the place's commands name it."""
    return module(shell, "two")


def module(shell, name: str, more: str = "") -> str:
    (shell.directory / f"{name}.pin").write_text("123456\n")
    place = shell.directory / name
    uri = f"simulated:{place}.token?pin-source=file:{place}.pin"
    open_hsm(uri, create=True).close()
    return f"simulated:{name}.token?pin-source=file:{name}.pin{more}"


def signs(shell) -> bool:
    return shell.run("sign", "--text", "x", "--device", "alice.device").code == 0


def roots(shell) -> dict[str, str]:
    found = shell.do("doctor", "--format", "json").json["root_keys"]
    return {f"{root['role']}-{root['version']}": root["state"] for root in found}


def settings(shell) -> dict:
    return tomllib.loads((shell.vault / "vault.toml").read_text())["hsm"]


def test_a_dry_run_says_what_a_rewrap_takes_and_changes_nothing(shell):
    before = shell.contents()
    plan = shell.do("rewrap", "--dry-run", "--format", "json").json
    table = shell.do("rewrap", "--dry-run").out

    assert plan["hsm_operations"] == 3 * plan["data_keys"] + plan["new_keys"] == 8
    assert [quote["provider"] for quote in plan["providers"]] == ["simulated"]
    assert "hsm operations  8" in table
    assert shell.contents() == before


def test_what_a_dry_run_promises_is_what_a_rewrap_takes(shell):
    plan = shell.do("rewrap", "--dry-run", "--format", "json").json
    with FrostService.open(shell.vault) as frost:
        before = frost.hsm.operations.by_kind()
        frost.upkeep.rewrap()
        after = frost.hsm.operations.by_kind()
    spent = sum(after[kind] - before[kind] for kind in ("create_key", "wrap", "unwrap"))

    # The settings are sealed once more, and their seal is read whenever they are looked at.
    assert plan["hsm_operations"] < spent <= plan["hsm_operations"] + 4


def test_a_dry_run_shows_a_rate_and_a_price_where_they_are_known(shell):
    plan = shell.do("rewrap", "--to", module(shell, "slow", "&rate-limit=4"), "--dry-run", "--format", "json").json

    assert plan["seconds"] == plan["hsm_operations"] / 4
    assert plan["providers"][0]["usd"] == 0


def test_superseded_root_keys_go_when_told_and_only_then(shell):
    shell.do("rewrap")
    asked = shell.do("trim")
    between = roots(shell)
    done = shell.void_backups("--format", "json").json

    assert between == {"kek-1": "draining", "claim-1": "draining", "kek-2": "current", "claim-2": "current"}
    assert "makes every backup of the database unreadable" in asked.err
    assert "--void-backups" in asked.err
    assert len(done["root_keys_destroyed"]) == 2
    assert (roots(shell)["kek-1"], signs(shell)) == ("retired", True)


def test_a_vault_moves_to_another_module_and_forgets_the_former(shell, target):
    before = shell.contents()
    plan = shell.do("rewrap", "--to", target, "--dry-run", "--format", "json").json
    untouched = shell.contents() == before
    moved = shell.do("rewrap", "--to", target, "--format", "json").json
    again = shell.do("rewrap", "--to", target, "--format", "json").json
    during = (signs(shell), settings(shell).get("former_uri"))
    kept = shell.do("trim").err
    shell.void_backups()
    (shell.vault / "hsm.token").unlink()

    assert untouched
    assert (moved, again) == ({"data_keys": plan["data_keys"]}, {"data_keys": 0})
    assert during == (True, "simulated:hsm.token?pin-source=file:hsm.pin")
    assert "former HSM" not in kept
    assert "former_uri" not in settings(shell)
    assert (shell.vault / "vault.toml").read_text().startswith("# vault ")
    assert signs(shell)
    assert "in that HSM already" in refused(shell, "rewrap", "--to", target)


def test_what_cannot_be_moved_or_converted_is_refused(shell, target):
    said = all_refused(
        shell,
        [
            ("rewrap", "--to", target, "--to-custody", "hybrid"),
            ("rewrap", "--to-custody", "direct"),
            ("rewrap", "--to-custody", "hybrid"),
            ("rewrap", "--to-custody", "hybrid", "--dry-run"),
            ("rewrap", "--to", "simulated:vault/hsm.token?pin-source=file:vault/hsm.pin"),
            ("rewrap", "--to", "simulated:"),
            ("rewrap", "--to", "nonsense:x"),
            ("reseal", "--data-key", "99"),
            ("reseal", "--data-key", "9" * 30),
            ("reseal", "--data-key", "x"),
        ],
    )

    assert "give one of them" in said[0]
    assert "in that HSM already" in said[4]
    assert "forgets its keys" in said[5]
    assert "there is no data key 99" in said[7]


def test_a_module_that_is_away_or_full_takes_nothing(shell):
    away = "simulated:nowhere.token?pin-source=file:vault/hsm.pin"
    full = module(shell, "full", "&capacity=1")
    said = all_refused(
        shell,
        [
            ("rewrap", "--to", away),
            ("rewrap", "--to", away, "--dry-run"),
            ("rewrap", "--to", full),
            ("rewrap", "--to", full, "--dry-run"),
        ],
        code=2,
    )

    assert "there is no room for 2 more" in said[2]


def test_a_move_to_a_third_module_waits_for_the_second(shell, target):
    shell.do("rewrap", "--to", target)

    assert "being moved to another HSM already" in refused(shell, "rewrap", "--to", module(shell, "three"))


def test_whenever_a_move_is_killed_the_same_command_again_finishes_it(shell, target):
    (shell.directory / "killed.py").write_text(KILLED)
    for step in (2, 4, 6):
        killed = shell.script("killed.py", step, "rewrap", "--to", target)

        assert killed.code in {0, -signal.SIGKILL}
    assert signs(shell)
    shell.do("rewrap", "--to", target)
    shell.void_backups()

    assert "former_uri" not in settings(shell)
    assert shell.do("doctor", "--format", "json").json["findings"] == []


def test_a_data_key_that_leaked_names_whom_it_exposed_and_then_holds_nothing(shell):
    found = shell.do("reseal", "--data-key", "1", "--data-key", "2", "--format", "json")
    gone = shell.do("trim", "--format", "json").json

    assert found.json == {"rotate": ["alice"], "replace": ["bob"]}
    assert "icehouse rotate USER" in found.err
    assert gone["data_keys_destroyed"] == 2
    assert signs(shell)


def test_without_a_data_key_all_are_replaced_and_nobody_is_called_exposed(shell):
    assert shell.do("reseal", "--format", "json").json == {"users": 2}
    assert shell.do("trim", "--format", "json").json["data_keys_destroyed"] == 2
    assert signs(shell)


def test_nobody_is_named_in_a_table_of_exposed_users_who_was_not(shell):
    with closing(sqlite3.connect(shell.vault / "vault.db")) as connection:
        number = connection.execute("SELECT number FROM data_keys WHERE purpose = 'server'").fetchone()[0]
    table = shell.do("reseal", "--data-key", number).out

    assert [line.split() for line in table.splitlines()] == [["TODO", "USER"], ["rotate", "alice"]]


@pytest.fixture
def derived(empty) -> Shell:
    """A place with a hierarchical vault and its enrolled alice."""
    empty.do("init", "--custody", "hierarchical", "--buckets", "2")
    empty.do("users", "create", "alice", "bob")
    empty.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", empty.token("alice"))
    return empty


def test_a_hierarchical_vault_is_neither_rewrapped_nor_resealed_nor_moved(derived):
    said = all_refused(
        derived,
        [
            ("rewrap",),
            ("rewrap", "--dry-run"),
            ("rewrap", "--to", module(derived, "two")),
            ("reseal",),
            ("reseal", "--data-key", "1"),
        ],
    )

    assert all("--to-custody hybrid" in words for words in said[:3])


def test_a_hierarchical_vault_is_converted_and_its_master_destroyed(derived):
    before = derived.contents()
    plan = derived.do("rewrap", "--to-custody", "hybrid", "--dry-run", "--format", "json").json
    unchanged = derived.contents() == before
    derived.do("users", "destroy", "bob", "--yes")
    done = derived.do("rewrap", "--to-custody", "hybrid", "--format", "json")
    waiting = derived.do("users", "destroy", "bob", "--yes", "--format", "json").json[0]
    derived.void_backups()
    gone = derived.do("users", "destroy", "bob", "--yes", "--format", "json").json[0]

    assert unchanged
    assert plan["new_keys"] == 2
    assert done.json == {"users": 1}
    assert "still derives every key" in done.err
    assert (waiting["state"], gone["state"]) == ("removed", "destroyed")
    assert "master-1" in waiting["waits_for"]
    assert signs(derived)
    assert "custody is hybrid" in refused(derived, "rewrap", "--to-custody", "hybrid")


def test_a_vault_moves_between_two_real_tokens(empty, softhsm):
    old, new = softhsm.new_token("cli-old"), softhsm.new_token("cli-new")
    empty.do("init", "--hsm", old.uri)
    empty.do("users", "create", "alice")
    empty.do("device", "enrol", "alice", "--device", "alice.device", "--token-file", empty.token("alice"))
    plan = empty.do("rewrap", "--to", new.uri, "--dry-run", "--format", "json").json
    empty.do("rewrap", "--to", new.uri)
    empty.void_backups()
    shutil.rmtree(old.directory)

    assert {"aws_cloudhsm", "yubihsm2"} & {quote["provider"] for quote in plan["providers"]}
    assert signs(empty)
