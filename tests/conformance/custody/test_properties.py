"""DESIGN §2: each row of its table, by name, for each custody."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidTag

from conformance.custody import outsider
from conformance.custody.house import BUCKETS, DIRECT, HYBRID, NODES, House
from consenting import destroyed
from icehouse._core import bucket, data_key_to_bytes, derive
from icehouse.custody import RootKeys
from icehouse.errors import HsmRefusedError, HsmUnavailableError, ProtocolError, RequestError
from icehouse.hsm import HsmKey, KeyKind
from icehouse.hsm.simulated.profile import Fault, Profile
from icehouse.hsm.simulated.simulated import SimulatedHsm
from icehouse.model import NO_DATA_KEY, NO_OFFER_ID, RECORDS_PER_DATA_KEY, Purpose, RootState, Sealed, State
from icehouse.service import FrostService
from icehouse.store import root_keys
from icehouse.store.data_keys import begin_retiring, drop_empty
from icehouse.upkeep.recover import Listed, recover
from icehouse.vault.opening import recover_vault
from tamper.attacker import channel_of, inside, open_record, row_context

SEALING = (HYBRID, DIRECT)


def names(count):
    return [f"user-{number:04d}" for number in range(count)]


def labels(house):
    """What is in the HSM: the kinds of keys, by what their labels say they are for."""
    vault = house.service.vault.vault_id.hex()
    return Counter((key.kind.value, key.label.replace(vault, "VAULT")) for key in house.hsm.keys(""))


def data_keys(house):
    """Every data key of the vault in the clear, as whoever stole them has them."""
    custody, store = house.service.vault.custody, house.service.vault.store
    numbers = [number for (number,) in house.sql("SELECT number FROM data_keys")]
    return {number: data_key_to_bytes(custody.unwrap(store.wrapped_key(number))) for number in numbers}


def opens(secret, number, key, role="current"):
    """The scalar of a record, if this data key opens it under any number it could claim to be."""
    sealed, participant = (key.claim, 1) if role == "claim" else (key.sealed, 2)
    for named in {number, sealed.data_key}:
        try:
            return open_record(secret, sealed.record, row_context(key, role, named, participant))
        except InvalidTag:
            continue
    return None


def everything_in(house):
    """The database's bytes on disk, what waits to be written back included."""
    return b"".join(path.read_bytes() for path in house.directory.glob("vault.db*"))


# Row by row


def test_in_the_hsm(house):
    house.service.create_users(names(5))
    alice = house.enrolled("alice")
    alice.rotate(house.service)
    vault = "icehouse-VAULT"
    own = {("aes", f"icehouse-u-{house.key(user).key_id.hex()}-1"): 1 for user in [*names(5), "alice"]}

    assert (
        labels(house)
        == {
            "hybrid": {("aes", f"{vault}-kek-1"): 1, ("aes", f"{vault}-claim-1"): 1},
            "direct": {("aes", f"{vault}-claim-1"): 1, **own},
            "hierarchical": {("hmac", f"{vault}-master-1"): 1},
        }[house.arrangement.custody]
    )


@pytest.mark.under(*SEALING)
def test_in_the_database_sealed_shares_and_wrapped_data_keys(house):
    house.service.create_users(names(3))
    alice = house.enrolled("alice")
    house.service.enrolment_code("user-0000")
    clear, raw = data_keys(house), everything_in(house)
    per_user = house.sql("SELECT data_key, count(*) FROM keys GROUP BY data_key")
    secrets = [*clear.values(), bytes.fromhex(inside(alice._state)["current"]["share"]), channel_of(alice._state)]
    for key in house.service.vault.store.every_key():
        secrets.append(opens(clear[key.sealed.data_key], key.sealed.data_key, key))
        secrets += [opens(clear[key.claim.data_key], key.claim.data_key, key, "claim")] if key.claim else []

    assert len(per_user) == (4 if house.arrangement == DIRECT else 1)
    assert len(secrets) == len(clear) + 2 + 4 + 3
    assert [secret for secret in secrets if secret in raw or secret.hex().encode() in raw] == []


@pytest.mark.on("softhsm")
@pytest.mark.under(BUCKETS, NODES)
def test_in_the_database_no_secret_at_all(house, softhsm, tmp_path):
    house.service.create_users(names(3))
    alice = house.enrolled("alice")
    state = alice._state
    state.prepare()
    state.accept_offer(house.service.exchange(state.ask()))
    house.service.enrolment_code("user-0000")
    vault, raw, secrets = house.service.vault.vault_id, everything_in(house), []
    for key in house.service.vault.store.every_key():
        text = outsider.message(vault, key.user, house.arrangement.buckets)
        node = outsider.ask_the_token(softhsm, house.token, f"icehouse-{vault.hex()}-master-1", text, tmp_path)
        path = outsider.Path2of2(key.user, key.suite, key.generation, key.epoch, key.offer_id or bytes(16))
        secrets += [node, outsider.share(node, path, 1), outsider.share(node, path, 2)]
        secrets += [number.to_bytes(32, "little") for number in outsider.coefficients(node, path)]
        secrets += [outsider.enrolment_code(node, vault, key.key_id, key.salt)] if key.salt else []
    secrets += [channel_of(state), channel_of(state, "pending")]

    # What is kept in the place of a sealed record is a tag of 16 bytes: too short to hold a scalar.
    assert house.sql("SELECT DISTINCT length(record) FROM keys UNION SELECT length(record) FROM offers") == [(16,)]
    assert [house.sql(f"SELECT count(*) FROM {table}") for table in ("data_keys", "claims")] == [[(0,)], [(0,)]]
    assert [secret for secret in secrets if secret in raw or secret.hex().encode() in raw] == []


@pytest.mark.on("simulated")
def test_a_share_is(house):
    """Random and sealed, or derived: told by what the same master, path and epoch give a second time."""
    alice = house.enrolled("alice")
    custody, key = house.service.vault.custody, house.key("alice")
    if house.arrangement.custody == "hierarchical":
        path = (key.suite, key.generation, 2, 2, key.epoch, key.offer_id)
        commitments, shares = derive(custody.node("alice"), "alice", path)
        shares[1].check(key.group, 2)

        assert commitments == key.commitments
        return
    root = custody.root_key(Purpose.SERVER, key)
    wrapped = house.service.vault.store.wrapped_key(key.sealed.data_key)
    share = opens(data_key_to_bytes(custody.unwrap(wrapped)), wrapped.number, key)

    assert wrapped.root_key == root
    assert (root == f"icehouse-u-{key.key_id.hex()}-1") == (house.arrangement == DIRECT)
    assert len(share) == 32
    assert share.hex() != inside(alice._state)["current"]["share"]


@pytest.mark.on("simulated")
def test_hsm_operations_per_1000_bulk_created_users(house):
    users = names(1000)
    asked = house.operations(lambda: house.service.create_users(users))
    buckets = house.arrangement.buckets
    touched = len({bucket(user, buckets) for user in users}) if buckets else 1000

    assert (
        asked
        == {
            "hybrid": {"wrap": 2},
            # One wrap more is the page's claim data key.
            "direct": {"create_key": 1000, "wrap": 1001},
            "hierarchical": {"mac": touched},
        }[house.arrangement.custody]
    )


@pytest.mark.on("simulated")
@pytest.mark.under(HYBRID)
def test_one_leaked_data_key_exposes_at_most_1024_server_shares(house):
    house.service.create_users(names(RECORDS_PER_DATA_KEY + 276))
    clear, keys = data_keys(house), list(house.service.vault.store.every_key())
    purposes = dict(house.sql("SELECT number, purpose FROM data_keys"))
    for number, secret in clear.items():
        servers = [key.user for key in keys if opens(secret, number, key) is not None]
        claims = [key.user for key in keys if opens(secret, number, key, "claim") is not None]
        exposed, spared = (servers, claims) if purposes[number] == "server" else (claims, servers)

        assert 0 < len(exposed) <= RECORDS_PER_DATA_KEY
        assert spared == []


@pytest.mark.on("simulated")
@pytest.mark.under(DIRECT)
def test_one_leaked_data_key_exposes_one_users_server_share(house):
    house.service.create_users(names(30))
    clear, keys = data_keys(house), list(house.service.vault.store.every_key())
    purposes = dict(house.sql("SELECT number, purpose FROM data_keys"))
    exposed = {
        number: [key.user for key in keys if opens(secret, number, key) is not None] for number, secret in clear.items()
    }

    assert sorted(len(users) for number, users in exposed.items() if purposes[number] == "server") == [1] * 30
    assert [users for number, users in exposed.items() if purposes[number] == "claim"] == [[]]


@pytest.mark.on("simulated")
@pytest.mark.under(BUCKETS, NODES)
def test_one_leaked_node_exposes_one_buckets_whole_keys(house):
    users = names(60)
    house.service.create_users(users)
    node, exposed = house.service.vault.custody.node(users[0]), []
    for key in house.service.vault.store.every_key():
        commitments, shares = derive(node, key.user, (key.suite, key.generation, 2, 2, key.epoch, NO_OFFER_ID))
        try:
            for number, share in enumerate(shares, 1):
                share.check(key.group, number)
        except ProtocolError:
            continue
        assert commitments == key.commitments
        exposed.append(key.user)
    buckets = house.arrangement.buckets
    mates = [user for user in users if buckets and bucket(user, buckets) == bucket(users[0], buckets)]

    assert exposed == (mates or users[:1])
    assert len(exposed) < len(users)


def lose_the_database(house):
    for service in house.services:
        service.vault.store.close()
    for path in house.directory.glob("vault.db*"):
        path.unlink()


@pytest.mark.under(*SEALING)
def test_lost_database_is_restored_from_a_backup(house):
    alice = house.enrolled("alice")
    house.service.vault.store.close()
    backup = house.directory / "backup"
    shutil.copy(house.directory / "vault.db", backup)
    vault_id = house.service.vault.vault_id
    lose_the_database(house)

    with pytest.raises(HsmRefusedError, match="master"):
        recover_vault(house.settings, vault_id, 0, RootKeys(house.hsm, house.hsm))
    backup.rename(house.directory / "vault.db")
    house.service = house.another_process()
    house.sign(alice)
    alice.rotate(house.service)
    assert house.service.check() == 1


@pytest.mark.under(BUCKETS, NODES)
def test_lost_database_is_rebuilt_from_master_and_a_list_of_users(house):
    alice, bob = house.enrolled("alice"), house.enrolled("bob")
    alice.rotate(house.service)
    house.service.create_users(["carol"])
    listed = [
        Listed(
            key.user,
            key.suite,
            key.generation,
            key.epoch,
            key.next_epoch,
            key.offer_id,
            key.state,
            key.group.public_key,
        )
        for key in house.service.vault.store.every_key()
    ]
    # Of bob nobody wrote down how far he had come.
    unknown = [Listed("bob", public_key=entry.public_key) if entry.user == "bob" else entry for entry in listed]
    vault_id = house.service.vault.vault_id
    lose_the_database(house)
    rebuilt = recover_vault(house.settings, vault_id, house.arrangement.buckets, RootKeys(house.hsm, house.hsm))
    recover(rebuilt, unknown, 10, create_unknown=False)
    house.services.append(FrostService(rebuilt))
    house.service = house.another_process()
    house.sign(alice)
    alice.rotate(house.service)
    with pytest.raises(Exception, match="epoch"):
        bob.sign(house.service, b"text")
    bob.enrol(house.service, house.service.enrolment_code("bob"))
    house.sign(bob)
    house.sign(house.enrolled("carol"))

    assert bob.epoch > 10
    assert house.service.check() == 3


@pytest.mark.on("simulated")
@pytest.mark.under(DIRECT)
def test_limits_hsm_key_capacity_is_checked_before_anything_is_created(tmp_path, module, build, arrangement):
    del build
    house = House(tmp_path / "full", arrangement, SimulatedHsm(None, Profile(capacity=100)))
    house.service.create_users(names(99))
    before = house.sql("SELECT count(*) FROM root_keys"), len(house.hsm.keys(""))
    asked = {}

    def refused():
        for attempt in (lambda: house.service.create_user_frost_shards("one-more"), lambda: bulk(house)):
            with pytest.raises(HsmRefusedError, match="holds 100 keys and has 100"):
                attempt()

    asked = house.operations(refused)
    after = house.sql("SELECT count(*) FROM root_keys"), len(house.hsm.keys(""))
    destroyed(house.service, "user-0000")
    made = house.service.create_user_frost_shards("one-more")

    assert module == "simulated"
    assert "create_key" not in asked
    assert after == before
    assert made.user_id == "one-more"
    assert house.service.check() == 100
    house.close()


def bulk(house):
    return house.service.create_users(["one", "two", "three"])


def nearly_full(place, **profile):
    """A direct vault with one user, on an HSM that holds nine more."""
    house = House(place, DIRECT, SimulatedHsm(None, Profile(capacity=11, **profile)))
    house.service.create_users(["first"])
    return house


@pytest.mark.on("simulated")
@pytest.mark.under(DIRECT)
def test_limits_a_creation_cut_off_when_the_hsm_became_full_is_finished_by_the_same_call(tmp_path, build):
    del build
    asked = nearly_full(tmp_path / "as-it-goes").hsm.operations.total
    # Nine users ask whether there is room, and for a key and a wrap each: the last wrap fails, those before are made.
    house = nearly_full(tmp_path / "full", faults={asked + 1 + 2 * 9: Fault.UNAVAILABLE})
    with pytest.raises(HsmUnavailableError):
        house.service.create_users(names(9))
    full = len(house.hsm.keys("")), house.service.check()
    made = house.service.create_users(names(9))

    assert full == (11, 9)
    assert (made.created, made.existing, house.service.check()) == (1, 8, 10)
    assert len(house.hsm.keys("")) == 11
    house.close()


@pytest.mark.on("simulated")
@pytest.mark.under(HYBRID, BUCKETS, NODES)
def test_limits_none_is_met_where_keys_in_the_hsm_do_not_grow_with_users(tmp_path, build, arrangement):
    del build
    house = House(tmp_path / "small", arrangement, SimulatedHsm(None, Profile(capacity=2)))
    house.service.create_users(names(2100))

    assert house.service.vault.store.count() == 2100
    assert len(house.hsm.keys("")) <= 2
    house.close()


@pytest.mark.on("simulated")
@pytest.mark.under(BUCKETS, NODES)
def test_limits_whoever_can_use_master_can_rebuild_every_users_key_for_ever(house):
    alice = house.enrolled("alice")
    for _ in range(3):
        alice.rotate(house.service)
    removed = destroyed(house.service, "alice")
    key, node = house.key("alice"), house.service.vault.custody.node("alice")
    commitments, _ = derive(node, "alice", (key.suite, key.generation, 2, 2, 0, NO_OFFER_ID))

    assert commitments[:32] == alice.public_key
    assert (removed.destroyed, "master" in removed.waits_for) == (False, True)


@pytest.mark.on("simulated")
def test_only_a_hierarchical_vault_is_rebuilt_without_its_database(house):
    if house.arrangement.custody == "hierarchical":
        with pytest.raises(RequestError, match="names users twice"):
            recover(house.service.vault, [Listed("alice"), Listed("alice")], 1, create_unknown=False)
    else:
        with pytest.raises(RequestError, match="only a hierarchical vault"):
            recover(house.service.vault, [Listed("alice")], 1, create_unknown=False)


@pytest.mark.under(DIRECT)
def test_a_destruction_cut_off_after_the_hsm_did_its_part_is_finished_by_the_same_call(house):
    house.service.create_users(["alice", "bob"])
    key, store = house.key("alice"), house.service.vault.store
    label = f"icehouse-u-{key.key_id.hex()}-1"
    store.remove(key, replace(key, state=State.DESTROYED, sealed=Sealed(NO_DATA_KEY, b""), claim=None))
    begin_retiring(store.database, [key.sealed.data_key])
    drop_empty(store.database)
    with store.database.write() as connection:
        root_keys.set_state(connection, label, RootState.CURRENT, RootState.DRAINING)
    root_keys.begin_retiring(store.database, label)
    house.hsm.destroy_key(HsmKey(label, KeyKind.AES))
    destroyed(house.service, "alice")

    assert root_keys.root_of(store.database, label).state == RootState.RETIRED
    assert [found.label for found in house.hsm.keys("icehouse-u-")] == [f"icehouse-u-{house.key('bob').key_id.hex()}-1"]


@pytest.mark.under(BUCKETS, NODES)
def test_a_process_that_knew_the_vault_as_hierarchical_goes_on_when_another_converted_it(house):
    other = house.another_process()
    alice = house.enrolled("alice", other)
    house.service.create_users(["bob"])
    house.service.upkeep.convert_to_hybrid()

    assert other.get_shards("alice").public_key == alice.public_key
    assert other.check_user("bob").custody == "hybrid"
    fresh = House.another_process(house)
    assert (fresh.check(), other.check()) == (2, 2)
    house.sign(alice, other)
    house.sign(house.enrolled("bob", other), fresh)


@pytest.mark.under(BUCKETS, NODES)
def test_a_process_that_knew_the_vault_as_hierarchical_examines_it_when_another_converted_it(house):
    other = house.another_process()
    house.service.create_users(["alice", "bob"])
    house.service.upkeep.convert_to_hybrid()

    assert [found.user_id for found in other.examine()] == ["alice", "bob"]
