"""`icehouse campaign` and `icehouse worker`, as people and machines run them."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing

import pytest

from executable import Shell, all_refused, refused

USERS = 2500


@pytest.fixture
def shell(place_of):
    place = place_of("hybrid", USERS)
    return Shell(place.directory.parent, {"ICEHOUSE_VAULT": str(place.directory)})


def test_a_campaign_runs_in_the_foreground_and_reports_what_the_database_says(shell):
    told = shell.do("campaign", "start", "reseal", "--format", "json").json

    assert (told["state"], told["matched"], told["done"], told["skipped"], told["failed"]) == (
        "done",
        USERS,
        USERS,
        0,
        0,
    )
    assert told["reasons"] == {}
    assert [quote["provider"] for quote in told["providers"]] == ["simulated"]
    assert shell.do("campaign", "status", 1, "--format", "json").json == told
    (listed,) = shell.do("campaign", "list", "--format", "json").json
    assert listed.items() <= told.items()
    assert "done" in shell.do("campaign", "list").out


def test_a_detached_campaign_is_done_by_workers(shell):
    started = shell.do("campaign", "start", "verify", "--detach", "--format", "json").json
    workers = [shell.start("worker", "--once", "--threads", 1, "--format", "json") for _ in range(2)]
    for worker in workers:
        worker.communicate(timeout=120)
    status = shell.do("campaign", "status", started["campaign"], "--format", "json").json

    assert [worker.returncode for worker in workers] == [0, 0]
    assert (status["state"], status["done"]) == ("done", USERS)


def test_a_worker_ends_at_sigterm_and_reports(shell):
    worker = shell.start("worker", "--format", "json")
    said = b""
    while b"is at work" not in said:
        said += worker.stderr.readline()
    worker.send_signal(signal.SIGTERM)
    out, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert b'"pages": 0' in out


def test_a_campaign_is_paused_resumed_and_cancelled(shell):
    shell.do("campaign", "start", "verify", "--detach")
    assert shell.do("campaign", "pause", 1, "--format", "json").json["state"] == "paused"
    shell.do("worker", "--once")
    assert shell.do("campaign", "resume", 1, "--format", "json").json["pages_done"] == 0
    assert shell.do("campaign", "cancel", 1, "--format", "json").json["state"] == "cancelled"
    assert "cancelled" in refused(shell, "campaign", "resume", 1)


def test_findings_are_listed_and_end_with_2(shell):
    with closing(sqlite3.connect(shell.vault / "vault.db")) as database, database:
        database.execute("UPDATE keys SET record = (SELECT record FROM keys WHERE user = 'u8') WHERE user = 'u7'")
    done = shell.run("campaign", "start", "verify", "--format", "json")
    assert done.code == 2
    assert done.json["reasons"] == {"SealError": 1}
    (finding,) = shell.do("campaign", "status", 1, "--findings", "--format", "json").json

    assert (finding["whose"], finding["reason"]) == ("u7", "SealError")
    assert "u7" in shell.do("campaign", "status", 1, "--findings").out


def test_bad_requests_are_refused_and_change_nothing(shell):
    words = all_refused(
        shell,
        [
            ("campaign", "start", "polish"),
            ("campaign", "start", "verify", "--epoch", 77),
            ("campaign", "start", "verify", "--suite", "rsa"),
            ("campaign", "start", "verify", "--state", "asleep"),
            ("campaign", "start", "verify", "--data-key", 99),
            ("campaign", "start", "verify", "--provider", "acme"),
            ("campaign", "start", "verify", "--root-key", "icehouse-00-kek-1"),
            ("campaign", "start", "verify", "--older-than", "a while"),
            ("campaign", "start", "verify", "--rate", 0),
            ("campaign", "start", "rotate", "--by", "yesterday"),
            ("campaign", "start", "rotate", "--by", "2020-01-01"),
            ("campaign", "start", "rotate", "--state", "dealt"),
            ("campaign", "start", "rewrap", "--epoch", 1),
            ("campaign", "start", "destroy", "--yes"),
            ("campaign", "start", "destroy", "--state", "dealt"),
            ("campaign", "status", 7),
            ("campaign", "due"),
            ("users", "overdue", "--grace", "x"),
            ("users", "suspend", "nobody"),
            ("users", "suspend", "u100"),
        ],
    )

    assert "nothing matches" in words[1]


def test_a_second_campaign_of_a_verb_is_refused(shell):
    shell.do("campaign", "start", "verify", "--detach")

    assert "under way already" in refused(shell, "campaign", "start", "verify")


def test_a_worker_of_another_version_than_the_schema_refuses(shell):
    shell.do("campaign", "start", "verify", "--detach")
    with closing(sqlite3.connect(shell.vault / "vault.db")) as database, database:
        database.execute("UPDATE icehouse_version SET version_num = '9999'")

    assert "schema 9999" in refused(shell, "worker", "--once", code=2)


def test_a_vault_from_before_campaigns_is_brought_to_them(shell):
    with closing(sqlite3.connect(shell.vault / "vault.db")) as database, database:
        for table in ("findings", "pages", "campaigns", "hsm_rates"):
            database.execute(f"DROP TABLE {table}")
        database.execute("UPDATE icehouse_version SET version_num = '0001'")
    assert "icehouse store prepare" in refused(shell, "campaign", "list", code=2)
    shell.do("store", "prepare")

    assert shell.do("campaign", "start", "verify", "--format", "json").json["done"] == USERS


def test_users_who_are_overdue_are_listed_suspended_and_resumed(shell):
    with closing(sqlite3.connect(shell.vault / "vault.db")) as database, database:
        database.execute("UPDATE keys SET due = 20000 WHERE user = 'u1'")
    (row,) = shell.do("users", "overdue", "--format", "json").json
    assert row == {"due": "2024-10-04", "state": "live", "user": "u1"}
    with (shell.vault / "vault.toml").open("a") as file:
        file.write("[rotation]\nsuspend_days = 30\n")
    (done,) = shell.do("campaign", "due", "--format", "json").json

    assert (done["verb"], done["done"]) == ("suspend", 1)
    assert shell.do("users", "resume", "u1", "--format", "json").json["state"] == "live"
    assert shell.do("users", "suspend", "u1", "--format", "json").json["state"] == "suspended"


def test_ctrl_c_ends_a_campaign_at_its_pages_end_and_a_worker_goes_on(shell):
    file = shell.vault / "vault.toml"
    slow = file.read_text().replace("hsm.pin", "hsm.pin&latency=0.05")
    quick = file.read_text()
    file.write_text(slow)
    campaign = shell.start("campaign", "start", "reseal", "--threads", 1)
    said = b""
    while b"matched" not in said:
        said += campaign.stderr.readline()
    campaign.send_signal(signal.SIGINT)
    campaign.communicate(timeout=120)
    file.write_text(quick)

    assert campaign.returncode == 130
    shell.do("worker", "--once")
    status = shell.do("campaign", "status", 1, "--format", "json").json
    assert (status["state"], status["done"], status["skipped"]) == ("done", USERS, 0)
