"""Offers, claims, proofs, expiries, replacements, retries, delays, duplicates and forgeries, in any order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from crash.pocket import Crash, Pocket, new_content
from crash.town import USER, Founded, Town
from icehouse._core import bare_refusal, verify
from icehouse.errors import IcehouseError, ProtocolError, RequestError
from icehouse.model import State

SERVERS = st.sampled_from((0, 1))
ANY = st.integers(0, 1 << 16)
REASONS = (
    "unknown-epoch", "not-the-offer", "bad-mac", "unknown-key", "unavailable", "malformed", "conflict", "wrong-epoch",
    "bad-proof", "not-the-proof", "suspended",
)  # fmt: skip
# How often something happens is how often it is listed.
AT_THE_VAULT = st.sampled_from(
    ("mint", "mint", "mint", "mark_due", "repeat_creation", "hour", "minute", "restart_server")
)
FIRST_WORKS = ("enrol", "enrol", "enrol", "resolve")
WORKS = ("rotate", "rotate", "rotate", "sign", "resolve")
ON_THE_WIRE = st.sampled_from(
    ("hold", "lose", "crash", "race", "race", "race", "mint_meanwhile", "forge", "forge", "replay", "replay", "reflect")
)
BESIDE_IT = st.sampled_from(("repeat", "repeat", "repeat", "copy", "full", "die before", "die after"))
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

    @initialize(server=SERVERS, first=ANY, enrolled=st.booleans())
    def create(self, server, first, enrolled):
        self.public_key = self.town.servers[server].create_user_frost_shards(USER).public_key
        self.first = first
        self.mint(server)
        if enrolled:
            self.pockets[0].device.enrol(Wire(self.town, server), self.tokens[-1])

    # The vault

    @rule(server=SERVERS, what=AT_THE_VAULT)
    def something_at_the_vault(self, server, what):
        getattr(self, what)(server)

    def mint(self, server):
        try:
            self.tokens.append(self.town.servers[server].enrolment_code(USER))
        except RequestError:
            assert self.town.key().state is State.LIVE

    def mark_due(self, server):
        self.town.servers[server].rotate_user_frost_shards(USER)

    def repeat_creation(self, server):
        assert self.town.servers[server].create_user_frost_shards(USER).public_key == self.public_key

    def hour(self, _):
        self.town.now += 3600

    def minute(self, _):
        self.town.now += 60

    def restart_server(self, server):
        self.town.restart(server)

    # A device, and the wire to it

    @rule(which=ANY, server=SERVERS, messages=st.integers(1, 4), old=ANY)
    def a_device_goes_on(self, which, server, messages, old):
        self.carry(self.someone(which, old), server, messages, old)

    @rule(which=ANY, server=SERVERS, old=ANY)
    def a_device_comes_to_an_end(self, which, server, old):
        self.carry(self.someone(which, old), server, 12, old)

    @rule(which=ANY, server=SERVERS, how=ON_THE_WIRE, messages=st.integers(0, 15), old=ANY)
    def something_happens_on_the_wire(self, which, server, how, messages, old):
        pocket = self.someone(which, old)
        self.carry(pocket, server, messages % 4, old)
        if pocket.doing is not None:
            getattr(self, how)(pocket, server, messages, old)
        self.carry(pocket, 1 - server, messages // 4, old)

    def someone(self, which, old):
        # Mostly the device that has come farthest.
        ahead = sorted(self.pockets, key=lambda one: (-one.device.epoch, one.device.pending_epoch is None))
        pocket = ahead[max(0, which % (3 * len(ahead)) - 2 * len(ahead))]
        if pocket.doing is None:
            self.begin(pocket, old)
        return pocket

    def begin(self, pocket, choice):
        works = WORKS if pocket.device.epoch else FIRST_WORKS
        # Mostly the newest token, at times an older one, at times none.
        tokens = (*self.tokens[-1:] * 4, *self.tokens[-3:], None)
        work, token = works[choice % len(works)], tokens[choice // 8 % len(tokens)]
        pocket.begin(lambda device, wire: self.work(device, wire, work, token))
        self.settle(pocket)

    def work(self, device, wire, work, token):
        if work == "enrol":
            device.enrol(wire, token)
        elif work == "sign":
            verify("ed25519", self.public_key, b"hello", device.sign(wire, b"hello"))
        else:
            getattr(device, work)(wire)

    def carry(self, pocket, server, messages, _):
        # Before the first commit most can go wrong, so it is not hurried.
        for _ in range(messages if self.epoch else min(messages, 1)):
            if pocket.doing is not None:
                self.go_on(pocket, pocket.held or self.town.say(server, pocket.doing.message))

    def hold(self, pocket, server, *_):
        pocket.held = self.town.say(server, pocket.doing.message)

    def lose(self, pocket, *_):
        self.go_on(pocket, ConnectionError("no answer came"))

    def crash(self, pocket, *_):
        self.go_on(pocket, Crash())

    def race(self, pocket, server, _, old):
        """Another message is served between the reading and the writing of this one, by the other server."""
        others = [one.doing.message for one in self.pockets if one.doing is not None and one is not pocket]
        late = (*others, *self.town.messages[-4:])
        late = (*(pocket.doing.message,) * (len(late) + 1), *late)
        self.meanwhile(pocket, server, lambda: self.town.say(1 - server, late[old % len(late)]))

    def mint_meanwhile(self, pocket, server, *_):
        self.meanwhile(pocket, server, lambda: self.mint(1 - server))

    def meanwhile(self, pocket, server, something):
        self.go_on(pocket, self.town.say_while(server, pocket.doing.message, something))

    # The attacker on the wire

    def forge(self, pocket, server, messages, old):
        del server, messages
        self.attack(pocket, bare_refusal(REASONS[old % len(REASONS)]))

    def replay(self, pocket, server, messages, old):
        del server, messages
        if self.town.answers:
            self.attack(pocket, self.town.answers[-1 - old % len(self.town.answers)])

    def reflect(self, pocket, *_):
        self.attack(pocket, pocket.doing.message)

    def attack(self, pocket, answer):
        self.attacked.add(pocket.doing)
        self.go_on(pocket, answer)

    # What happens beside it

    @rule(which=ANY, server=SERVERS, what=BESIDE_IT, old=ANY)
    def something_beside_it(self, which, server, what, old):
        pocket = self.pockets[which % len(self.pockets)]
        if what == "repeat" and self.town.messages:
            self.town.say(server, self.town.messages[-1 - old % len(self.town.messages)])
        elif what == "copy" and len(self.pockets) < 2 + MOST_COPIES:
            self.copy(pocket, old % 6)
        elif what in {"full", "die before", "die after"}:
            pocket.disk.fault = what

    def copy(self, pocket, back):
        contents = pocket.disk.contents
        copy = Pocket(f"{pocket.name}'", pocket.lineage, contents[max(0, len(contents) - 1 - back)])
        copy.disk.watch = self.watch
        self.pockets.append(copy)

    def go_on(self, pocket, answer):
        pocket.go_on(answer)
        self.settle(pocket)

    def settle(self, pocket):
        """What an end means: a crash is a restart, an error is the user's to read, anything else is a fault."""
        doing = pocket.doing
        if doing.message is not None:
            # Nothing is sent on the strength of what is not durable.
            assert pocket.device._state.facts() == pocket.disk.state().facts()
            return
        pocket.doing = None
        if isinstance(doing.failure, Crash):
            pocket.start()
        else:
            honest = isinstance(doing.failure, ProtocolError) and doing not in self.attacked
            if honest or not isinstance(doing.failure, IcehouseError | ConnectionError | None):
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
            max_examples=40,
            stateful_step_count=60,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
