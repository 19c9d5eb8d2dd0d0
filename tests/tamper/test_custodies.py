"""The tampering that a hybrid vault withstands, on the vaults that are not hybrid: bent columns, and rows swapped."""

from __future__ import annotations

import pytest

from tamper.probes import calls, messages
from tamper.test_columns import COLUMNS, DECIDES_NOTHING, NEEDED_BY, NOT_FOUND, bends, place, served
from tamper.test_moved import SWAPS, not_refused, swap
from tamper.world import STATES, USERS, World

CUSTODIES = {"direct": ("direct", 0), "hierarchical": ("hierarchical", 0), "hierarchical-buckets": ("hierarchical", 1)}
BY_USER = [pair for pair in COLUMNS if pair[0] in {"keys", "claims", "offers"}]


@pytest.fixture(scope="session")
def arranged(tmp_path_factory):
    """Makes, once, a vault of a custody in a state."""
    made = {}

    def make(custody, state):
        if (custody, state) not in made:
            word, buckets = CUSTODIES[custody]
            world = World(tmp_path_factory.mktemp(custody), custody=word, buckets=buckets).bring_to(state)
            world.probes = {user: messages(world, state, user) | calls(world, state, user) for user in USERS}
            made[custody, state] = (world, world.snapshot())
        return made[custody, state]

    yield make
    for world, _ in made.values():
        world.close()


def needed_by(custody, table, column):
    """What must be refused: of a derived row everything, since its one tag is checked before anything is derived."""
    if custody != "direct" and table == "keys":
        return ("",)
    return NEEDED_BY.get((table, column), ("",))


@pytest.mark.parametrize(
    ("custody", "state"),
    [("direct", "claiming"), ("direct", "rotating"), *(("hierarchical", state) for state in STATES)],
)
@pytest.mark.parametrize(("table", "column"), BY_USER)
def test_a_bent_column_is_refused_under_every_custody(arranged, caplog, custody, state, table, column):
    world, rows = arranged(custody, state)
    user, where = USERS[0], place(table, USERS[0])
    values = world.sql(f'SELECT "{column}" FROM "{table}" WHERE {where}')
    if not values:
        return  # nothing of this kind stands in this state
    other = world.sql(f'SELECT "{column}" FROM "{table}" WHERE {place(table, USERS[1])}')
    needed = needed_by(custody, table, column)
    must = {name: probe for name, probe in world.probes[user].items() if name.startswith(needed)}
    for bend in bends(values[0][0], other[0][0]):
        if world.bend(table, column, bend, where):
            bent = world.snapshot()
            left = served(world, must, caplog, NOT_FOUND.get((table, column)))
            changed = world.snapshot() != bent
            world.restore(rows)

            if (table, column) not in DECIDES_NOTHING:
                assert left == {}, f"{table}.{column} = {bend!r}"
                assert not changed


@pytest.mark.parametrize("custody", ["direct", "hierarchical-buckets"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("what", SWAPS)
def test_rows_swapped_between_two_users_serve_neither_under_any_custody(arranged, custody, state, what):
    world, rows = arranged(custody, state)
    swap(world, "keys", SWAPS[what])
    # A direct vault's proof opens the pending record alone; what it does not read it does not miss.
    partly = custody == "direct" and SWAPS[what][0] == "record" and len(SWAPS[what]) < 3
    labels = ("current:", "app:facts", "code:claim") if partly else ("",)
    found = [not_refused(world, user, labels) for user in USERS]
    world.restore(rows)

    assert found == [{}, {}]


@pytest.mark.parametrize("custody", CUSTODIES)
@pytest.mark.parametrize("state", ["code", "claiming", "rotating"])
@pytest.mark.parametrize("table", ["claims", "offers"])
def test_rows_beside_a_key_swapped_between_two_users_serve_neither_under_any_custody(arranged, custody, state, table):
    world, rows = arranged(custody, state)
    columns = [column for found, column in COLUMNS if found == table and column != "id"]
    labels = {
        "claims": ("code:", "app:mint", "app:check"),
        "offers": ("offered:", "code:other", "current:other", "app:check"),
    }[table]
    swapped = swap(world, table, columns)
    found = [not_refused(world, user, labels) for user in USERS]
    world.restore(rows)

    assert found == [{}, {}] or not swapped


def test_an_older_tag_and_its_row_of_the_same_user_open_nothing_of_todays(tmp_path):
    world = World(tmp_path / "own", custody="hierarchical").bring_to("live")
    tag = world.sql("SELECT record FROM keys WHERE user = 'alice'")[0][0]
    world.rotate(world.devices["alice"])
    world.bend("keys", "record", tag, "user = 'alice'")
    found = not_refused_after(world)
    world.close()

    assert found == {}


def not_refused_after(world):
    world.probes = {user: messages(world, "live", user) | calls(world, "live", user) for user in USERS}
    return not_refused(world, "alice")
