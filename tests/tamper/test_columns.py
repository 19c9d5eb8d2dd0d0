"""Every column of every row, bent: refused before a share is used, and named."""

from __future__ import annotations

from contextlib import suppress

import pytest

from icehouse.errors import HsmRefusedError, RequestError, SealError
from icehouse.store.schema import metadata
from icehouse.watch import Watch
from tamper.attacker import reason_of
from tamper.probes import calls, messages
from tamper.world import STATES, USERS

COLUMNS = [(table.name, column.name) for table in metadata.sorted_tables for column in table.columns]

DECIDES_NOTHING = {
    ("vault", "id"): "there is one row",
    ("vault", "next_key"): "a number for rows; put back, it is refused below",
    ("vault", "next_data_key"): "a number for data keys; put back, it is refused below",
    ("data_keys", "state"): "whether a data key takes more records; `gone` is refused below",
    ("data_keys", "used"): "how many records a data key sealed: a bound on damage, counted and not proved",
    ("data_keys", "live"): "how many it seals now: when it may be trimmed",
    ("keys", "id"): "a number that joins rows; a claim or an offer that it tears off is missed",
    ("keys", "rev"): "whose write comes first",
    ("keys", "due"): "whether a device is asked to rotate, which it may always do",
    ("keys", "changed"): "when the row was written last: for lists and filters",
}

CURRENT = ("current:", "app:", "code:claim")
OFFER = ("offered:", "code:other", "current:other", "app:check")
CODE = ("code:", "app:mint", "app:check")

# What must be refused when a column is bent: everything, unless it is here. A record that an act does not need is
# not looked at: a proof, for example, opens the pending record alone, which the whole row is bound to as well.
NEEDED_BY = {
    ("keys", "data_key"): CURRENT,
    ("keys", "record"): CURRENT,
    ("claims", "data_key"): CODE,
    ("claims", "record"): CODE,
    ("offers", "epoch"): OFFER,
    ("offers", "commitments"): OFFER,
    ("offers", "device_key"): OFFER,
    ("offers", "expires"): OFFER,
    ("offers", "payload"): OFFER,
    ("offers", "data_key"): OFFER,
    ("offers", "record"): OFFER,
}

# Where the row is not found under its id or epoch any more, the vault cannot know that it should be.
NOT_FOUND = {
    ("keys", "key_tag"): "bare:unknown-key",
    ("keys", "epoch"): "bare:unknown-epoch",
    ("keys", "salt"): "bare:unknown-epoch",
    ("offers", "epoch"): "bare:unknown-epoch",
    ("offers", "id"): "bare:unknown-epoch",
}


def bends(value: object, other: object) -> list[object]:
    """What an attacker might write instead, and what the other user has there."""
    match value:
        case None:
            found: list[object] = [bytes(16), bytes(range(16)), b"x"]
        case int():
            found = [value + 1, value - 1, value - 6, 0, 1, 2, 3, -1, 2**40, "word", 0.5, b"\x01"]
        case bytes():
            flipped = [bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 0x80])] if value else []
            found = [*flipped, value[:-1], value + b"\0", bytes(len(value)), b"", "word", 7, None]
        case _:
            found = [f"{value}x", str(value).upper(), "", "server", "claim", str(value).encode(), 7, None]
    return [bend for bend in [*found, other] if bend != value or type(bend) is not type(value)]


def place(table, user):
    """The condition that finds a user's row in a table."""
    if table == "keys":
        return f"user = '{user}'"
    return f"id = (SELECT id FROM keys WHERE user = '{user}')"


def served(world, probes, caplog, expected):
    """The probes that were not refused as they must be, with what they got."""
    found = {}
    for name, probe in probes.items():
        caplog.clear()
        world.service.vault.unserved = Watch()  # else the log would have enough of this key
        if callable(probe):
            # A row that is not found any more is no user's, and the caller is told so.
            with suppress(SealError, RequestError):
                found[name] = probe()
            continue
        reason = reason_of(world.say(probe))
        if reason == "bare:unavailable":
            assert "is not served" in caplog.text
        elif reason != expected:
            found[name] = reason
    return found


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("table", "column"), [pair for pair in COLUMNS if pair[0] in {"keys", "claims", "offers"}])
def test_a_bent_column_of_a_key_is_refused_before_a_share_is_used(worlds, caplog, state, table, column):
    world, rows = worlds[state]
    user, where = USERS[0], place(table, USERS[0])
    values = world.sql(f'SELECT "{column}" FROM "{table}" WHERE {where}')
    if not values:
        return  # nothing of this kind stands in this state
    other = world.sql(f'SELECT "{column}" FROM "{table}" WHERE {place(table, USERS[1])}')
    probes = messages(world, state, user) | calls(world, state, user)
    needed = NEEDED_BY.get((table, column), ("",))
    must = {name: probe for name, probe in probes.items() if name.startswith(needed)}
    for bend in bends(values[0][0], other[0][0]):
        if world.bend(table, column, bend, where):
            bent = world.snapshot()
            left = served(world, must, caplog, NOT_FOUND.get((table, column)))
            changed = world.snapshot() != bent
            world.restore(rows)

            if (table, column) not in DECIDES_NOTHING:
                assert left == {}, f"{table}.{column} = {bend!r}"
                assert not changed


def data_key_row(world, user, purpose):
    table = "keys" if purpose == "server" else "claims"
    found = world.sql(f'SELECT data_key FROM "{table}" WHERE {place(table, user)}')
    return found[0][0] if found else None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("purpose", ["server", "claim"])
@pytest.mark.parametrize("column", [column for table, column in COLUMNS if table == "data_keys"])
def test_a_bent_column_of_a_data_key_is_refused_before_a_share_is_used(worlds, caplog, state, purpose, column):
    world, rows = worlds[state]
    number = data_key_row(world, USERS[0], purpose)
    if number is None:
        return  # a claimed key has no record under a claim data key
    value = world.sql(f'SELECT "{column}" FROM data_keys WHERE number = ?', number)[0][0]
    other = world.sql(f'SELECT "{column}" FROM data_keys WHERE purpose != ?', purpose)[0][0]
    probes = messages(world, state, USERS[0]) | calls(world, state, USERS[0])
    needed = ("current:", "offered:", "code:claim", "code:other", "app:") if purpose == "server" else CODE
    must = {name: probe for name, probe in probes.items() if name.startswith(needed)}
    for bend in bends(value, other):
        if world.bend("data_keys", column, bend, "number = ?", number):
            left = served(world, must, caplog, None)
            world.restore(rows)

            if ("data_keys", column) not in DECIDES_NOTHING:
                assert left == {}, f"data_keys.{column} = {bend!r}"


@pytest.mark.parametrize("column", [column for table, column in COLUMNS if table == "vault"])
def test_bent_settings_open_no_vault(worlds, column):
    world, rows = worlds["live"]
    value = world.sql(f'SELECT "{column}" FROM vault')[0][0]
    opened = []
    for bend in bends(value, None):
        if world.bend("vault", column, bend, "1"):
            with suppress(SealError, HsmRefusedError):
                world.reopen().vault.store.close()  # the HSM is everybody's
                opened.append(bend)
            world.restore(rows)

    assert not opened or ("vault", column) in DECIDES_NOTHING


ROOT_COLUMNS = {
    "version": "the label, which holds it too, is what is bound",
    "superseded": "from when on backups can be opened no more: told to whoever trims",
    "recoverable_until": "how long an HSM keeps what was destroyed: told to whoever destroys",
}


@pytest.mark.parametrize("column", [column for table, column in COLUMNS if table == "root_keys"])
@pytest.mark.parametrize("role", ["kek", "claim"])
def test_a_bent_root_key_opens_no_vault(worlds, role, column):
    world, rows = worlds["live"]
    value = world.sql(f'SELECT "{column}" FROM root_keys WHERE role = ?', role)[0][0]
    opened = []
    for bend in bends(value, "kek" if column == "role" else None):
        if world.bend("root_keys", column, bend, f"role = '{role}'"):
            with suppress(SealError, HsmRefusedError):
                world.reopen().vault.store.close()  # the HSM is everybody's
                opened.append(bend)
            world.restore(rows)

    assert not opened or column in ROOT_COLUMNS


def test_a_data_key_that_is_gone_opens_nothing(worlds, caplog):
    world, rows = worlds["live"]
    number = data_key_row(world, "alice", "server")
    world.bend("data_keys", "state", "gone", "number = ?", number)
    answer = world.say(messages(world, "live", "alice")["current:sign"])
    world.restore(rows)

    assert reason_of(answer) == "bare:unavailable"
    assert f"no data key {number} any more" in caplog.text


@pytest.mark.parametrize("counter", ["next_key", "next_data_key"])
def test_a_counter_put_back_gives_no_number_twice(world, counter):
    world.bring_to("dealt")
    world.bend("vault", counter, 1, "1")
    world.bend("data_keys", "used", 1024, "1")  # so that the next page needs data keys of its own

    with pytest.raises(SealError, match=counter):
        world.service.create_users(["carol"])
    assert world.service.get_shards("alice").epoch == 0


def test_a_column_that_is_not_listed_must_be_bound():
    listed = {*DECIDES_NOTHING, *NEEDED_BY, *NOT_FOUND}

    assert listed <= set(COLUMNS)
