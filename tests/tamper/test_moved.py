"""Rows and records moved: between users, between vaults, between roles, between data keys."""

from __future__ import annotations

import pytest

from icehouse._core import key_id
from icehouse.errors import RequestError, SealError
from icehouse.store.rows import tag, user_tag
from icehouse.store.schema import claims, data_keys, keys, offers
from tamper.attacker import reason_of
from tamper.probes import calls, messages
from tamper.world import STATES, USERS, World

IDENTITY = ("id", "user_tag", "key_tag")
KEY_COLUMNS = [column.name for column in keys.columns]
SWAPS = {
    "the records": ("record",),
    "records and data keys": ("record", "data_key"),
    "records and commitments": ("record", "data_key", "commitments"),
    "everything but the name": tuple(name for name in KEY_COLUMNS if name not in {*IDENTITY, "user"}),
    "everything but the tags": tuple(name for name in KEY_COLUMNS if name not in IDENTITY),
    "the names": ("user",),
    "the tags": ("user_tag", "key_tag"),
}


def swap(world, table, columns):
    """Exchange columns of alice's and bob's rows."""
    column = "id" if table in {"claims", "offers"} else "user"
    wheres = {"id": "(SELECT id FROM keys WHERE user = ?)", "user": "?"}[column]
    names = ", ".join(f'"{name}"' for name in columns)
    found = [
        (world.sql(f'SELECT id, {names} FROM "{table}" WHERE "{column}" = {wheres}', user) or [None])[0]
        for user in USERS
    ]
    if None in found:
        return False
    (first, *mine), (second, *theirs) = found
    sets = ", ".join(f'"{name}" = ?' for name in columns)
    # Unique columns are parked out of the way first.
    if "user_tag" in columns:
        world.sql("UPDATE keys SET user_tag = -id, key_tag = -id")
    world.sql(f'UPDATE "{table}" SET {sets} WHERE id = ?', *theirs, first)
    world.sql(f'UPDATE "{table}" SET {sets} WHERE id = ?', *mine, second)
    return True


def not_refused(world, user, labels=("",)):
    """What this user's device and the application still got."""
    found = {}
    for name, probe in world.probes[user].items():
        if not name.startswith(labels):
            continue
        if callable(probe):
            try:
                probe()
            except (SealError, RequestError):  # a row that is not found any more is no user's
                continue
            found[name] = "served"
        elif not (reason := reason_of(world.say(probe))).startswith("bare:"):
            found[name] = reason
    return found


@pytest.fixture(params=STATES)
def staged(request, worlds):
    world, rows = worlds[request.param]
    world.probes = {user: messages(world, request.param, user) | calls(world, request.param, user) for user in USERS}
    yield world
    world.restore(rows)


@pytest.mark.parametrize("what", SWAPS)
def test_rows_swapped_between_two_users_serve_neither(staged, what):
    world = staged
    swap(world, "keys", SWAPS[what])
    # A proof opens the pending record alone; what it does not read it does not miss.
    labels = ("current:", "app:facts", "code:claim") if SWAPS[what][0] == "record" and len(SWAPS[what]) < 3 else ("",)

    assert [not_refused(world, user, labels) for user in USERS] == [{}, {}]


@pytest.mark.parametrize(
    ("table", "labels"),
    [(claims, ("code:", "app:mint", "app:check")), (offers, ("offered:", "code:other", "current:other", "app:check"))],
    ids=["claims", "offers"],
)
def test_rows_beside_a_key_swapped_between_two_users_serve_neither(staged, table, labels):
    world = staged
    columns = [column.name for column in table.columns if column.name != "id"]
    if swap(world, table.name, columns):
        assert [not_refused(world, user, labels) for user in USERS] == [{}, {}]


@pytest.mark.parametrize(
    ("to", "source"),
    [("keys", "claims"), ("keys", "offers"), ("claims", "keys"), ("claims", "offers"), ("offers", "keys")],
)
@pytest.mark.parametrize("columns", [("record",), ("record", "data_key")], ids=["record", "record and data key"])
def test_a_record_of_another_role_is_refused(staged, to, source, columns):
    world = staged
    where = "id = (SELECT id FROM keys WHERE user = 'alice')"
    names = ", ".join(columns)
    value = world.sql(f'SELECT {names} FROM "{source}" WHERE {where}')
    if not value or not world.sql(f'SELECT id FROM "{to}" WHERE {where}'):
        return  # the two do not stand together in this state
    sets = ", ".join(f"{column} = ?" for column in columns)
    world.sql(f'UPDATE "{to}" SET {sets} WHERE {where}', *value[0])
    labels = {
        "keys": ("current:", "app:", "code:claim"),
        "claims": ("code:", "app:mint", "app:check"),
        "offers": ("offered:", "code:other", "current:other", "app:check"),
    }[to]

    assert not_refused(world, "alice", labels) == {}


def test_a_record_pointed_to_another_data_key_of_the_same_purpose_is_refused(world):
    world.bring_to("live")
    world.bend("data_keys", "state", "closed", "purpose = 'server'")
    world.service.create_users(["carol"])
    other = world.sql("SELECT max(number) FROM data_keys WHERE purpose = 'server'")[0][0]
    world.bend("keys", "data_key", other, "user = 'alice'")

    assert reason_of(world.say(messages(world, "live", "bob")["current:sign"])) == "cosigned"
    assert reason_of(world.say(world.devices["alice"].ask_status())) == "bare:unavailable"


def test_data_keys_that_changed_their_numbers_open_nothing(world):
    world.bring_to("code")
    world.sql("UPDATE data_keys SET number = -number")
    world.sql("UPDATE data_keys SET number = 3 + number")

    assert reason_of(world.say(world.devices["alice"].ask())) == "bare:unavailable"


def test_a_claim_data_key_called_a_server_data_key_opens_nothing(world):
    world.bring_to("code")
    kek = world.sql("SELECT label FROM root_keys WHERE role = 'kek'")[0][0]
    claim = world.sql("SELECT number FROM data_keys WHERE purpose = 'claim'")[0][0]
    world.sql("UPDATE data_keys SET purpose = 'server', root_key = ? WHERE number = ?", kek, claim)
    world.sql("UPDATE keys SET data_key = ?", claim)

    with pytest.raises(SealError, match=f"data key {claim} does not open"):
        world.service.check_user("alice")


# Two vaults behind one HSM


@pytest.fixture(params=STATES)
def twins(request, tmp_path):
    """Two vaults with the same users in the same state, whose root keys are in one HSM."""
    one = World(tmp_path / "one").bring_to(request.param)
    two = World(tmp_path / "two", hsm=one.hsm).bring_to(request.param)
    yield one, two, request.param
    one.close()
    two.close()


@pytest.mark.parametrize(
    "tables",
    [
        ("keys", "claims", "offers"),
        ("claims",),
        ("offers",),
        ("data_keys",),
        ("data_keys", "keys", "claims", "offers"),
    ],
    ids="+".join,
)
def test_rows_of_another_vault_in_the_same_hsm_are_refused(twins, tables):
    one, two, state = twins
    foreign = two.snapshot()
    if not any(foreign[table] for table in tables):
        return  # nothing of this kind stands in this state
    one.probes = {user: messages(one, state, user) | calls(one, state, user) for user in USERS}
    one.restore(foreign, *tables)
    labels = {
        ("claims",): ("code:", "app:mint", "app:check"),
        ("offers",): ("offered:", "code:", "current:", "app:"),
    }.get(tables, ("",))

    assert [not_refused(one, user, labels) for user in USERS] == [{}, {}]


def test_rows_of_another_vault_with_tags_that_fit_are_refused(twins):
    one, two, state = twins
    one.probes = {user: messages(one, state, user) | calls(one, state, user) for user in USERS}
    one.restore(two.snapshot(), "keys", "claims", "offers")
    vault = one.service.vault.vault_id
    for user in USERS:
        tags = user_tag(vault, user), tag(key_id(vault, user, "ed25519", 0))
        one.sql("UPDATE keys SET user_tag = ?, key_tag = ? WHERE user = ?", *tags, user)

    assert [not_refused(one, user) for user in USERS] == [{}, {}]


def test_the_settings_of_another_vault_in_the_same_hsm_open_no_key(tmp_path):
    one = World(tmp_path / "one").bring_to("live")
    two = World(tmp_path / "two", hsm=one.hsm).bring_to("live")
    one.restore(two.snapshot(), "vault", "root_keys")
    pretender = one.reopen()  # the HSM did see these settings, but no key here was made under them
    try:
        with pytest.raises(SealError, match="does not fit its tags"):
            list(pretender.users())
        assert reason_of(pretender.exchange(one.devices["alice"].ask_status())) == "bare:unavailable"
        assert reason_of(pretender.exchange(two.devices["alice"].ask_status())) == "bare:unknown-key"
    finally:
        pretender.vault.store.close()
        one.close()
        two.close()


def test_a_wrapped_data_key_of_another_vault_does_not_open_under_this_ones_label(tmp_path):
    one = World(tmp_path / "one").bring_to("live")
    two = World(tmp_path / "two", hsm=one.hsm).bring_to("live")
    one.restore(two.snapshot(), data_keys.name)
    kek = one.sql("SELECT label FROM root_keys WHERE role = 'kek'")[0][0]
    one.sql("UPDATE data_keys SET root_key = ? WHERE purpose = 'server'", kek)
    answer = one.say(one.devices["alice"].ask_status())
    one.close()
    two.close()

    assert reason_of(answer) == "bare:unavailable"
