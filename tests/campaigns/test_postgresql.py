"""Campaigns on PostgreSQL: the same verbs, the same fences, and a server that restarts meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from threading import Event, Thread
from typing import TYPE_CHECKING

import psycopg
import pytest

from campaigns.place import ENROLLED, Place
from campaigns.test_leases import LONG_AGO, Slow
from executable import Shell
from icehouse.campaigns import transport
from icehouse.campaigns.worker import WorkerPool
from icehouse.errors import StoreError
from icehouse.store import campaigns, rates
from icehouse.store.campaigns import CampaignState
from icehouse.store.leases import SupersededError
from icehouse.store.selection import Filters, Range
from postgresql.test_interleavings import meanwhile

if TYPE_CHECKING:
    from pathlib import Path

USERS = 1500
SIZES = tuple(map(int, os.environ.get("ICEHOUSE_TEST_CAMPAIGN", "3000,8,2").split(",")))
"""Users, kills and restarts: 200000,50,5 takes minutes and says the same."""


class PostgresPlace(Place):
    """A vault whose database is a schema of the server's."""

    def __init__(self, directory: Path, server, url: str) -> None:
        super().__init__(directory)
        self.server, self.url = server, url

    @property
    def store(self) -> str:
        return self.url

    def sql(self, statement, *values):
        database = self.frost.vault.store.database
        with database.write() as connection:
            done = connection.exec_driver_sql(statement.replace("?", "%s"), values)
            return [tuple(row) for row in done] if done.returns_rows else []


@pytest.fixture
def place_in(postgresql, tmp_path):
    """A vault with so many users."""
    made = []

    def make(users=USERS, server=None):
        server = server or postgresql
        place = PostgresPlace(tmp_path / f"vault{len(made)}", server, server.new_url())
        place.found("hybrid", users)
        made.append(place)
        return place

    yield make
    for place in made:
        place.close()


def test_every_verb_does_on_postgresql_what_it_does_on_sqlite(place_in):
    place = place_in()
    data_keys = place.number("SELECT count(*) FROM data_keys")
    expected = {"verify": USERS, "rotate": ENROLLED, "rewrap": data_keys, "reseal": USERS}
    done = {verb: place.campaign(verb, threads=4).progress.done for verb in expected}
    assert done == expected
    place.check(USERS)
    assert place.campaign("suspend", Filters(due_before=place.frost.vault.today + 1)).progress.done == ENROLLED
    assert place.campaign("destroy", Filters(state="dealt")).progress.done == USERS - ENROLLED
    assert place.number("SELECT count(*) FROM keys WHERE state = 4") == USERS - ENROLLED

    place.check(USERS)


@pytest.mark.parametrize("verb", ["reseal", "rotate"])
def test_a_worker_that_wakes_after_a_takeover_writes_nothing(place_in, verb):
    place = place_in()
    number = place.office.start(verb).id
    slow = Slow(place.open(), number)
    place.sql(LONG_AGO)
    place.office.run(number, 2, Event())
    before = [place.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("keys", "data_keys", "pages")]

    with pytest.raises(SupersededError):
        slow.go_on()
    assert [place.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("keys", "data_keys", "pages")] == before


def test_campaigns_of_two_verbs_that_start_at_once_both_start(postgresql, place_in):
    database = place_in(ENROLLED).frost.vault.store.database
    row = {"id": 1, "verb": "verify", "terms": "{}", "under_way": "verify", "state": "running"}

    def start():
        return campaigns.register(database, "rotate", Filters(), [Range(1, 2, 2)])

    with meanwhile(postgresql, database, start) as (connection, outcome):
        connection.execute(campaigns.insert(campaigns.campaigns).values(**row, matched=0, started=0))

    assert [(found.id, found.verb) for found in outcome] == [(2, "rotate")]


def test_limits_that_are_set_at_once_are_one_of_them(postgresql, place_in):
    database = place_in(ENROLLED).frost.vault.store.database
    row = {"name": "hsm", "rate": 5.0, "tokens": 0.0, "at": 0.0, "rev": 0}
    with meanwhile(postgresql, database, lambda: rates.limit(database, "hsm", 7)) as (connection, outcome):
        connection.execute(rates.insert(rates.hsm_rates).values(row))

    assert outcome == [None]
    with database.read() as connection:
        assert connection.execute(rates.select(rates.hsm_rates.c.rate)).scalars().all() == [7]


def test_kills_and_restarts_of_the_server_lose_nothing_and_do_nothing_twice(place_in):
    users, kills, restarts = SIZES
    place = place_in(users)
    before = place.number("SELECT max(number) FROM data_keys")
    number = place.office.start("reseal").id
    pages = place.number("SELECT count(*) FROM pages")
    numbers = map(str, (number, kills, 2, 1, 7, max(10, users // 100 // kills)))
    command = [sys.executable, "-W", "error", "-m", "bench.mortal", place.directory, *numbers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watcher = Thread(target=restarted, args=(place, number, pages, restarts))
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    told = json.loads(out)
    report = place.office.report(number)
    records = place.number("SELECT (SELECT count(*) FROM keys) + (SELECT count(*) FROM claims)")

    assert told["killed"] == kills
    assert report.campaign.state is CampaignState.DONE
    assert (report.progress.done, report.progress.skipped, report.progress.failed) == (users, 0, 0)
    assert place.sql("SELECT sum(used), sum(live) FROM data_keys WHERE number > ?", before) == [(records, records)]
    place.check(users)


def restarted(place, number, pages, restarts):
    """Restart the server whenever one more part of the pages is done."""
    for part in range(1, restarts + 1):
        while place.office.report(number).progress.pages_done < pages * part // (restarts + 1):
            pass
        place.server.restart()


def test_a_campaign_starts_where_the_url_names_several_hosts(postgresql, tmp_path):
    url = postgresql.new_url().replace(f"127.0.0.1:{postgresql.port}", "")
    place = PostgresPlace(tmp_path / "vault", postgresql, f"{url}&host=127.0.0.1:1&host=127.0.0.1:{postgresql.port}")
    place.found("hybrid", ENROLLED)
    number = place.office.start("verify").id

    assert place.sql("SELECT count(*) FROM procrastinate_jobs") == [(1,)]
    assert place.office.run(number, 1, Event()) is CampaignState.DONE
    place.close()


def test_pages_are_announced_in_the_schema_that_a_service_file_names(postgresql, tmp_path, monkeypatch):
    schema = postgresql.new_url().rpartition("=")[2].rpartition("%3D")[2]
    file = tmp_path / "services"
    options = f"options=-csearch_path={schema}"
    file.write_text(f"[vault]\nhost=127.0.0.1\nport={postgresql.port}\nuser=postgres\ndbname=postgres\n{options}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    place = PostgresPlace(tmp_path / "vault", postgresql, "postgresql:///?service=vault")
    place.found("hybrid", ENROLLED)
    place.office.start("verify")

    assert postgresql.admin(f"SELECT count(*) FROM {schema}.procrastinate_jobs") == [(1,)]
    place.close()


def test_a_role_without_any_right_stops_no_worker(postgresql, place_in):
    place = place_in(ENROLLED)
    postgresql.admin("CREATE ROLE nobody LOGIN")
    shell = Shell(place.directory.parent, {"ICEHOUSE_VAULT": str(place.directory)})
    worker = shell.start("worker", "--format", "json")

    def verified():
        number = place.office.start("verify").id
        while place.office.report(number).campaign.state is CampaignState.RUNNING:
            assert worker.poll() is None

    verified()
    with psycopg.connect(postgresql.conninfo("postgres", "nobody"), autocommit=True) as stranger:
        for channel in ("procrastinate_any_queue_v1", "procrastinate_queue_v1#icehouse"):
            stranger.execute(f"NOTIFY \"{channel}\", 'not what it expects'")
    verified()
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=60)

    assert worker.returncode == 0, err
    assert json.loads(out)["pages"] == 2


def test_a_worker_whose_heartbeat_fails_says_so(place_in, monkeypatch):
    place = place_in(ENROLLED)
    monkeypatch.setattr(transport, "_BEATS_EVERY", 0.1)

    def break_down():
        while place.sql("SELECT count(*) FROM procrastinate_workers") != [(1,)]:
            pass
        place.sql("ALTER TABLE procrastinate_workers RENAME COLUMN last_heartbeat TO gone")

    breaker = Thread(target=break_down)
    breaker.start()
    with pytest.raises(StoreError, match="failed"):
        transport.serve(WorkerPool(place.frost.vault, 1))

    breaker.join()


def test_workers_on_postgresql_are_woken_take_over_and_end_at_sigterm(place_in):
    place = place_in()
    shell = Shell(place.directory.parent, {"ICEHOUSE_VAULT": str(place.directory)})
    workers = [shell.start("worker", "--threads", 2, "--format", "json") for _ in range(2)]
    for worker in workers:
        said = b""
        while b"is at work" not in said:
            said += worker.stderr.readline()
    started = shell.do("campaign", "start", "verify", "--detach", "--format", "json").json
    number = started["campaign"]
    while place.office.report(number).campaign.state is CampaignState.RUNNING:
        assert all(worker.poll() is None for worker in workers)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    ended = [worker.communicate(timeout=60) for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], ended
    assert sum(json.loads(out)["pages"] for out, _ in ended) == place.number("SELECT count(*) FROM pages")
    assert place.office.report(number).progress.done == USERS


def test_a_worker_works_on_as_many_pages_at_once_as_it_has_threads(place_in):
    threads = 12
    place = place_in(threads * 500)
    shell = Shell(place.directory.parent, {"ICEHOUSE_VAULT": str(place.directory)})
    file = place.directory / "vault.toml"
    file.write_text(file.read_text().replace("hsm.pin", "hsm.pin&latency=2"))
    number = place.office.start("verify").id
    worker = shell.start("worker", "--threads", threads)
    leased = 0
    while leased < threads and place.office.report(number).campaign.state is CampaignState.RUNNING:
        leased = place.number("SELECT count(*) FROM pages WHERE state = 'leased'")
    worker.kill()
    worker.communicate()

    assert leased == threads
