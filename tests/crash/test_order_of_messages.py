"""Offers, claims, proofs, expiries, replacements, retries, delays, duplicates and forgeries, in any order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crash.pocket import Crash, Pocket, new_content
from crash.town import USER, Founded, Town
from icehouse._core import bare_refusal, verify
from icehouse.errors import IcehouseError, ProtocolError, RequestError
from icehouse.model import State

SERVERS = st.sampled_from((0, 1))
ANY = st.integers(0, 1 << 16)
REASONS = st.sampled_from(
    ("unknown-epoch", "bad-mac", "unknown-key", "unavailable", "malformed", "conflict", "wrong-epoch", "not-the-offer",
     "bad-proof", "not-the-proof", "suspended")
)  # fmt: skip
FAULTS = st.sampled_from(("full", "die before", "die after"))
WORKS = st.sampled_from(("enrol", "enrol", "rotate", "rotate", "sign", "resolve"))
MOST_COPIES = 2


class Wire:
    """A quiet network to one server."""

    def __init__(self, town, number):
        self.exchange = lambda message: town.say(number, message)


class OrderOfMessages(RuleBasedStateMachine):
    """Two devices of one user and copies of their files; two servers; one who holds the wire."""

    def __init__(self, founded):
        super().__init__()
        self.town = Town(founded)
        self.pockets = [Pocket(name, name, new_content(USER)) for name in "AB"]
        for pocket in self.pockets:
            pocket.disk.watch = self.watch
        self.tokens = []
        self.attacked = set()
        self.first = 0
        self.epoch = self.next_epoch = 0

    @initialize(server=SERVERS, first=ANY)
    def create(self, server, first):
        self.public_key = self.town.servers[server].create_user_frost_shards(USER).public_key
        self.first = first

    # The vault

    @rule(server=SERVERS)
    def mint(self, server):
        try:
            self.tokens.append(self.town.servers[server].enrolment_code(USER))
        except RequestError:
            assert self.town.key().state is State.LIVE

    @rule(server=SERVERS)
    def mark_due(self, server):
        self.town.servers[server].rotate_user_frost_shards(USER)

    @rule(server=SERVERS)
    def repeat_creation(self, server):
        assert self.town.servers[server].create_user_frost_shards(USER).public_key == self.public_key

    @rule(seconds=st.sampled_from((60, 901)))
    def turn_the_clock(self, seconds):
        self.town.now += seconds

    @rule(server=SERVERS)
    def restart_server(self, server):
        self.town.restart(server)

    # The devices

    def idle(self):
        return [pocket for pocket in self.pockets if pocket.doing is None]

    def waiting(self):
        return [pocket for pocket in self.pockets if pocket.doing is not None]

    @precondition(idle)
    @rule(which=ANY, work=WORKS, token=ANY, server=SERVERS, messages=st.integers(0, 6))
    def begin(self, which, work, token, server, messages):
        pocket = self.idle()[which % len(self.idle())]
        # Mostly the newest token, at times an older one, at times none.
        chosen = ([*self.tokens[-3:], *self.tokens[-1:] * 3, None])[
            token % (len(self.tokens[-3:]) + 4 if self.tokens else 1)
        ]
        pocket.begin(lambda device, wire: self.work(device, wire, work, chosen))
        self.settle(pocket)
        for _ in range(messages):
            if pocket.doing is not None:
                self.go_on(pocket, self.town.say(server, pocket.doing.message))

    def work(self, device, wire, work, token):
        if work == "enrol":
            device.enrol(wire, token)
        elif work == "sign":
            signature = device.sign(wire, b"hello")
            verify("ed25519", self.public_key, b"hello", signature)
        else:
            getattr(device, work)(wire)

    @rule(which=ANY, fault=FAULTS)
    def break_disk(self, which, fault):
        self.pockets[which % len(self.pockets)].disk.fault = fault

    @rule(which=ANY)
    def crash(self, which):
        pocket = self.pockets[which % len(self.pockets)]
        if pocket.doing is not None:
            self.go_on(pocket, Crash())
        else:
            pocket.start()

    @precondition(lambda self: len(self.pockets) < 2 + MOST_COPIES)
    @rule(which=ANY, back=st.integers(0, 5))
    def copy_file(self, which, back):
        pocket = self.pockets[which % len(self.pockets)]
        contents = pocket.disk.contents
        copy = Pocket(f"{pocket.name}'", pocket.lineage, contents[max(0, len(contents) - 1 - back)])
        copy.disk.watch = self.watch
        self.pockets.append(copy)

    # The network

    @precondition(waiting)
    @rule(which=ANY, server=SERVERS, messages=st.integers(1, 6))
    def carry(self, which, server, messages):
        pocket = self.one_waiting(which)
        for _ in range(messages):
            if pocket.doing is not None:
                self.go_on(pocket, pocket.held or self.town.say(server, pocket.doing.message))

    @precondition(waiting)
    @rule(which=ANY, server=SERVERS)
    def hold_answer(self, which, server):
        pocket = self.one_waiting(which)
        pocket.held = self.town.say(server, pocket.doing.message)

    @precondition(waiting)
    @rule(which=ANY)
    def lose(self, which):
        self.go_on(self.one_waiting(which), ConnectionError("no answer came"))

    @precondition(lambda self: self.town.messages)
    @rule(which=ANY, server=SERVERS)
    def repeat_message(self, which, server):
        self.town.say(server, self.town.messages[-1 - which % len(self.town.messages)])

    @precondition(lambda self: self.waiting() and self.town.messages)
    @rule(which=ANY, server=SERVERS, other=ANY, other_server=SERVERS)
    def race(self, which, server, other, other_server):
        pocket = self.one_waiting(which)
        waiting = [one.doing.message for one in self.waiting() if one is not pocket]
        late = [*waiting, *self.town.messages[-6:]]
        message = late[other % len(late)]
        meanwhile = (lambda: self.town.say(other_server, message)) if server != other_server else (lambda: None)
        self.go_on(pocket, self.town.say_while(server, pocket.doing.message, meanwhile))

    @precondition(waiting)
    @rule(which=ANY, server=SERVERS)
    def mint_meanwhile(self, which, server):
        pocket = self.one_waiting(which)
        answer = self.town.say_while(server, pocket.doing.message, lambda: self.mint(1 - server))
        self.go_on(pocket, answer)

    # The attacker on it

    @precondition(waiting)
    @rule(which=ANY, reason=REASONS)
    def forge_refusal(self, which, reason):
        self.attack(self.one_waiting(which), bare_refusal(reason))

    @precondition(lambda self: self.waiting() and self.town.answers)
    @rule(which=ANY, old=ANY)
    def replay_answer(self, which, old):
        self.attack(self.one_waiting(which), self.town.answers[-1 - old % len(self.town.answers)])

    @precondition(waiting)
    @rule(which=ANY)
    def reflect(self, which):
        pocket = self.one_waiting(which)
        self.attack(pocket, pocket.doing.message)

    def attack(self, pocket, answer):
        self.attacked.add(pocket.doing)
        self.go_on(pocket, answer)

    def one_waiting(self, which):
        return self.waiting()[which % len(self.waiting())]

    def go_on(self, pocket, answer):
        pocket.go_on(answer)
        self.settle(pocket)

    def settle(self, pocket):
        """What an end means: a crash is a restart, an error is the user's to read, anything else is a fault."""
        doing = pocket.doing
        if doing.message is not None:
            return
        pocket.doing = None
        if isinstance(doing.failure, Crash):
            pocket.start()
        elif (isinstance(doing.failure, ProtocolError) and doing not in self.attacked) or not isinstance(
            doing.failure, IcehouseError | ConnectionError | None
        ):
            raise doing.failure

    # What holds at every moment

    def watch(self, before, after):
        """A device drops its old epoch only when the pending one was committed, and that only when abandoned."""
        old, new = before.facts(), after.facts()
        dropped = old["pending"] is not None and new["pending"] != old["pending"]
        if dropped:
            offer_id = self.town.ledger.offers[old["key"].hex(), old["pending"]]
            committed = new["epoch"] == old["pending"]
            assert offer_id in (self.town.ledger.commits.values() if committed else self.town.ledger.abandoned)
        assert new["epoch"] == old["epoch"] or (dropped and new["epoch"] == old["pending"])
        assert new["token"] or not old["token"] or (new["epoch"] and not old["epoch"])

    @invariant()
    def the_vault_only_goes_forward(self):
        key = self.town.key()

        assert key.group.public_key == self.public_key
        assert self.epoch <= key.epoch < key.next_epoch
        assert self.next_epoch <= key.next_epoch
        self.epoch, self.next_epoch = key.epoch, key.next_epoch

    @invariant()
    def one_device_is_enrolled(self):
        lineages = {pocket.lineage for pocket in self.pockets if self.epoch and pocket.device.epoch == self.epoch}

        assert len(lineages) <= 1

    # What holds at the end, with the network quiet

    def teardown(self):
        try:
            self.end_all()
            self.nobody_is_stranded()
        finally:
            self.end_all()
            self.town.close()

    def end_all(self):
        for pocket in self.pockets:
            if pocket.doing is not None:
                pocket.go_on(Crash())
            pocket.start()

    def nobody_is_stranded(self):
        wire = Wire(self.town, self.first % 2)
        pocket = self.newest()
        if self.town.key().state is State.DEALT:
            pocket.device.enrol(wire, self.town.servers[0].enrolment_code(USER))
        for _ in range(2):
            verify("ed25519", self.public_key, b"end", pocket.device.sign(wire, b"end"))
            pocket.device.rotate(wire)
        self.others_keep_what_they_have(pocket, wire)

        assert pocket.device.epoch == self.town.key().epoch
        assert pocket.disk.state().facts()["epoch"] == pocket.device.epoch
        assert self.town.key().offer is None
        self.town.check()

    def newest(self):
        """A device whose file holds what the vault's epoch is; before the first commit, any."""
        epoch = self.town.key().epoch
        holders = [pocket for pocket in self.pockets if epoch in {pocket.device.epoch, pocket.device.pending_epoch}]
        assert holders, f"no device holds epoch {epoch}"
        return holders[self.first % len(holders)]

    def others_keep_what_they_have(self, enrolled, wire):
        for pocket in self.pockets:
            before = pocket.disk.state().facts()
            if pocket is enrolled:
                continue
            with pytest.raises(RequestError):
                pocket.device.sign(wire, b"end")

            assert pocket.disk.state().facts() == before


def test_no_order_of_messages_strands_a_key(tmp_path):
    founded = Founded.found(tmp_path)
    run_state_machine_as_test(
        lambda: OrderOfMessages(founded),
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
