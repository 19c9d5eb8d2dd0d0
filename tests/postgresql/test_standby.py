"""A synchronous standby that is not there: said within seconds, nothing told that it does not have, nothing lost."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from executable import Shell
from icehouse._core import bare_refusal
from icehouse.errors import IcehouseError, StoreError
from icehouse.store.counts import miscounts

AWAY = "waits for a synchronous standby that does not answer"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
HANG = 60
"""Ten times what these take."""


@contextmanager
def standby_away(postgresql):
    """No standby has this name, so every commit waits."""
    wait_for(postgresql, "nobody")
    try:
        yield
    finally:
        wait_for(postgresql, "")


def wait_for(postgresql, names):
    """Let commits wait for these standbys."""
    postgresql.admin(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    postgresql.admin("SELECT pg_reload_conf()")
    while postgresql.admin("SHOW synchronous_standby_names") != [(names,)]:
        pass
    while not names and postgresql.admin(WAITING):
        pass


class Watched:
    """A cosigner in front of another, that does something before it passes on the n-th message."""

    def __init__(self, service, number, act):
        self.service, self.number, self.act = service, number, act

    def exchange(self, message):
        self.number -= 1
        if self.number == 0:
            self.act()
        return self.service.exchange(message)


PROOF = 3
"""Of a rotation's messages: the request, the proof's cosignature, the proof."""


def test_a_device_is_told_unavailable_and_signs_on_and_its_next_try_resolves(postgresql, house):
    alice = house.enrolled("alice")
    with standby_away(postgresql):
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
        waiting = postgresql.admin(WAITING)
        assert len(waiting) == 1
        for _ in range(3):
            with pytest.raises(IcehouseError, match="unavailable"):
                alice.rotate(house.service)
        house.service.vault.store.warnings()
        assert postgresql.admin(WAITING) == waiting, "a further try is one more commit that waits"
        with pytest.raises(StoreError, match=f"{AWAY}: this change was not begun"):
            house.service.create_users(["bob"])
        assert house.service.get_shards("alice").epoch == 1
    alice.rotate(house.service)
    house.sign(alice)

    assert (house.key("alice").epoch, alice.epoch) == (2, 2)
    assert house.service.check() == 1
    assert miscounts(house.service.vault.store) == []


@pytest.mark.parametrize("how", ["left waiting", "wait cancelled", "session ended", "server crashed"])
def test_committed_is_not_answered_before_the_standby_has_the_proof(postgresql, house, how):
    alice = house.enrolled("alice")
    with standby_away(postgresql):
        wait_for(postgresql, "")

        def end(pid):
            if how == "wait cancelled":
                postgresql.admin(f"SELECT pg_cancel_backend({pid})")
            elif how == "session ended":
                postgresql.admin(f"SELECT pg_terminate_backend({pid})")
            elif how == "server crashed":
                postgresql.restart(signal.SIGQUIT)

        def rotate():
            alice.rotate(Watched(house.service, PROOF, lambda: wait_for(postgresql, "nobody")))

        with ThreadPoolExecutor(1) as pool:
            rotating = pool.submit(rotate)
            while not (waiting := postgresql.admin(WAITING)):
                assert not rotating.done()
            end(waiting[0][0])
            with pytest.raises(IcehouseError, match="unavailable"):
                rotating.result(HANG)
        there = house.key("alice").epoch == 2
        assert there == (how != "left waiting"), "what the primary shows"
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
        assert alice.epoch == 1, "the device keeps its old share"
    alice.rotate(house.service)
    house.sign(alice)

    assert alice.epoch == house.key("alice").epoch
    assert house.service.check() == 1


def cancelled(postgresql, act):
    """What comes of an act whose commit somebody let go on without the standby, once no standby is there."""
    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        while postgresql.admin("SELECT 1 FROM pg_stat_replication") or not (waiting := postgresql.admin(WAITING)):
            assert not acting.done()
        postgresql.admin(f"SELECT pg_cancel_backend({waiting[0][0]})")
        return acting.exception(HANG) or acting.result()


def test_an_offer_that_only_the_primary_has_is_not_told(postgresql, house):
    alice = house.enrolled("alice")
    with standby_away(postgresql):
        assert "unavailable" in str(cancelled(postgresql, lambda: alice.rotate(house.service)))
        assert house.key("alice").offer is not None
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
    alice.rotate(house.service)
    house.sign(alice)

    assert alice.epoch == house.key("alice").epoch == 2


def test_an_abandonment_that_only_the_primary_has_is_not_told(postgresql, house):
    alice = house.enrolled("alice")
    with pytest.raises(StoreError, match="stopped"):
        alice.rotate(Watched(house.service, 2, stop))
    abandon = alice._state.ask_abandon()
    unavailable = bare_refusal("unavailable")
    with standby_away(postgresql):
        assert cancelled(postgresql, lambda: house.service.exchange(abandon)) == unavailable
        assert house.key("alice").offer is None
        assert house.service.exchange(abandon) == unavailable
    alice._state.accept_abandoned(None, house.service.exchange(abandon))
    alice.rotate(house.service)
    house.sign(alice)

    assert alice.epoch == house.key("alice").epoch


def stop():
    msg = "stopped"
    raise StoreError(msg)


def test_a_user_whom_only_the_primary_has_is_not_told_to_exist(postgresql, house):
    with standby_away(postgresql):
        with ThreadPoolExecutor(1) as pool:
            creating = pool.submit(house.service.create_users, ["alice"])
            while not creating.done():
                for (pid,) in postgresql.admin(WAITING):
                    postgresql.admin(f"SELECT pg_cancel_backend({pid})")
            with pytest.raises(StoreError, match=AWAY):
                creating.result(HANG)
        for again in (
            lambda: house.service.create_users(["alice"]),
            lambda: house.service.create_user_frost_shards("alice"),
        ):
            with pytest.raises(StoreError, match=AWAY):
                again()
    created = house.service.create_users(["alice"])

    assert created.created + created.existing == 1


def test_a_standby_that_comes_back_has_what_waited_for_it(postgresql, standby, house):
    alice = house.enrolled("alice")
    wait_for(postgresql, "standby")
    try:
        alice.rotate(house.service)
        standby.stop()
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
        standby.start()
        while postgresql.admin(WAITING):
            pass
        alice.rotate(house.service)
        house.sign(alice)
        schema = house.store_url.rpartition("%3D")[2]
        (seen,) = standby.admin(f"SELECT epoch FROM {schema}.keys")
    finally:
        wait_for(postgresql, "")

    assert seen == (alice.epoch,) == (3,)


def test_a_promoted_standby_serves_a_device_whose_proof_only_the_primary_had(postgresql, standby, house):
    alice = house.enrolled("alice")
    wait_for(postgresql, "standby")

    def cut_off():
        standby.admin("ALTER SYSTEM SET primary_conninfo = ''")
        standby.admin("SELECT pg_reload_conf()")
        while postgresql.admin("SELECT 1 FROM pg_stat_replication"):
            pass

    try:
        rotating = Watched(house.service, PROOF, cut_off)
        assert "unavailable" in str(cancelled(postgresql, lambda: alice.rotate(rotating)))
        assert house.key("alice").epoch == 2, "the primary shows it"
        with pytest.raises(IcehouseError, match="unavailable"):
            alice.rotate(house.service)
        standby.admin("SELECT pg_promote()")
        house.store_url = house.store_url.replace(f":{postgresql.port}/", f":{standby.port}/")
        promoted = house.another_process()
        assert promoted.get_shards("alice").epoch == 1, "the standby never had it"
        alice.rotate(promoted)
        house.sign(alice, promoted)
        assert promoted.get_shards("alice").epoch == alice.epoch
        promoted.vault.store.close()
    finally:
        wait_for(postgresql, "")


def test_commands_say_so_and_leave_one_commit_waiting_however_often_they_are_tried(postgresql, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    url = postgresql.new_url()
    postgresql.admin("CREATE ROLE waiter LOGIN")
    shell.do("store", "prepare", "--store", url, "--role", "waiter")
    shell.do("init", "--store", url.replace("postgres@", "waiter@"))
    shell.do("users", "create", "alice")
    shell.do("campaign", "start", "verify", "--detach")
    with standby_away(postgresql):
        for command in (("users", "create", "bob"), ("users", "create", "carol"), ("doctor",), ("worker", "--once")):
            process = shell.start(*command)
            _, err = process.communicate(timeout=HANG)
            assert process.returncode == 2, (command, err)
            assert AWAY in err.decode(), (command, err)
            assert len(postgresql.admin(WAITING)) == 1
    doctor = shell.do("doctor", "--format", "json")

    assert doctor.json["findings"] == []
    assert shell.do("users", "create", "bob").code == 0


def test_a_command_that_is_interrupted_leaves_its_commit_waiting_and_seen_by_nobody(postgresql, tmp_path):
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    url = postgresql.new_url()
    count = f"SELECT count(*) FROM {url.rpartition('%3D')[2]}.keys"
    shell.do("init", "--store", url)
    with standby_away(postgresql):
        creating = shell.start("users", "create", "alice")
        while not postgresql.admin(WAITING):
            assert creating.poll() is None
        creating.send_signal(signal.SIGINT)
        creating.communicate(timeout=HANG)

        assert creating.returncode == 130
        assert len(postgresql.admin(WAITING)) == 1
        assert postgresql.admin(count) == [(0,)]
    again = shell.do("users", "create", "alice", "--format", "json")

    assert [user["user"] for user in again.json] == ["alice"]
