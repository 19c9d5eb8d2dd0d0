"""Each verb does to every key that matches what it says, and counts it."""

from __future__ import annotations

import pytest

from campaigns.place import ENROLLED, enrolled
from consenting import destroyed, trimmed
from icehouse.errors import RefusedError, RequestError, SealError
from icehouse.model import State
from icehouse.store.selection import Filters
from icehouse.users import destroy as destroying

USERS = 2500


def outcome(report):
    return report.campaign.matched, report.progress.done, report.progress.skipped, report.progress.failed


@pytest.mark.parametrize(("custody", "users"), [("hybrid", USERS), ("hierarchical", 300), ("direct", 12)])
def test_verify_opens_every_record(place_of, custody, users):
    report = place_of(custody, users).campaign("verify")

    assert outcome(report) == (users, users, 0, 0)
    assert report.campaign.state == "done"


def test_verify_lists_what_does_not_open_and_what_contradicts_itself(place_of):
    place = place_of()
    place.sql("UPDATE keys SET record = (SELECT record FROM keys WHERE user = 'u8') WHERE user = 'u7'")
    place.sql("UPDATE keys SET suite = 3 WHERE user = 'u1500'")
    report = place.campaign("verify")

    assert outcome(report) == (USERS, USERS - 2, 0, 2)
    assert report.reasons == {"SealError": 2}
    assert [(whose, reason) for whose, reason, _ in place.office.findings(report.campaign.id)] == [
        ("u7", "SealError"),
        ("row 1501", "SealError"),
    ]


def test_rewrap_moves_every_data_key_with_three_operations_each(place_of):
    place = place_of()
    data_keys = place.number("SELECT count(*) FROM data_keys")
    report = place.campaign("rewrap")

    assert outcome(report) == (data_keys, data_keys, 0, 0)
    assert report.progress.operations == 3 * data_keys
    assert not place.frost.upkeep.is_rewrapping()
    place.check(USERS)


def test_rewrap_goes_on_past_a_data_key_that_contradicts_itself(place_of):
    place = place_of()
    data_keys = place.number("SELECT count(*) FROM data_keys")
    place.sql("UPDATE data_keys SET purpose = 'none' WHERE number = 2")
    report = place.campaign("rewrap")

    assert outcome(report) == (data_keys, data_keys - 1, 0, 1)
    assert [(whose, reason) for whose, reason, _ in place.office.findings(report.campaign.id)] == [
        ("data key 2", "SealError")
    ]


def test_rewrap_gives_every_user_of_a_direct_vault_a_successor_of_their_own_key(place_of):
    place = place_of("direct", 12)
    report = place.campaign("rewrap")

    assert report.progress.done == report.campaign.matched == place.number("SELECT count(*) FROM data_keys")
    assert place.number("SELECT count(*) FROM root_keys WHERE role = 'user' AND state = 'current'") == 12
    place.check(12)


def test_reseal_moves_every_record_once(place_of):
    place = place_of()
    before = place.number("SELECT max(number) FROM data_keys")
    report = place.campaign("reseal")

    assert outcome(report) == (USERS, USERS, 0, 0)
    records = 2 * USERS - ENROLLED  # whoever enrolled has no claim record any more
    assert place.sql("SELECT sum(used), sum(live) FROM data_keys WHERE number > ?", before) == [(records, records)]
    assert place.number("SELECT sum(live) FROM data_keys WHERE number <= ?", before) == 0
    place.check(USERS)


def test_reseal_of_one_data_key_leaves_other_users_alone(place_of):
    place = place_of()
    records = place.number("SELECT live FROM data_keys WHERE number = 1")
    others = place.sql("SELECT id, rev FROM keys WHERE id NOT IN (SELECT id FROM claims WHERE data_key = 1)")
    report = place.campaign("reseal", Filters(data_keys=(1,)))

    assert outcome(report) == (records, records, 0, 0)
    assert place.number("SELECT live FROM data_keys WHERE number = 1") == 0
    assert set(others) <= set(place.sql("SELECT id, rev FROM keys"))
    assert len(others) == USERS - records
    place.check(USERS)


def test_reseal_goes_on_past_a_record_that_does_not_open(place_of):
    place = place_of()
    place.sql("UPDATE keys SET record = (SELECT record FROM keys WHERE user = 'u8') WHERE user = 'u7'")
    report = place.campaign("reseal")

    assert outcome(report) == (USERS, USERS - 1, 0, 1)
    assert [whose for whose, _, _ in place.office.findings(report.campaign.id)] == ["u7"]


def test_rotate_marks_live_keys_due_and_their_devices_do_it(place_of):
    place = place_of()
    device = enrolled(place.frost, "u100")
    report = place.campaign("rotate")

    assert outcome(report) == (ENROLLED + 1, ENROLLED + 1, 0, 0)
    assert place.number("SELECT count(*) FROM keys WHERE due > 0") == ENROLLED + 1
    epoch = device.epoch
    device.sign(place.frost, b"hello")
    assert device.epoch > epoch
    assert place.number("SELECT count(*) FROM keys WHERE due > 0") == ENROLLED


class Interrupted:
    """A cosigner whose first answer is lost on the way."""

    def __init__(self, frost) -> None:
        self._frost = frost

    def exchange(self, message):
        self._frost.exchange(message)
        raise ConnectionError


def test_rotate_outlasts_an_offer_that_was_made_before_it(place_of):
    place = place_of("hybrid", 300)
    device = enrolled(place.frost, "u100")
    with pytest.raises(ConnectionError):
        device.rotate(Interrupted(place.frost))
    place.campaign("rotate")
    device.rotate(place.frost)  # commits the offer of before

    assert place.frost.vault.is_due(place.frost.vault.store.key_of("u100"))
    epoch = device.epoch
    device.sign(place.frost, b"hello")
    assert device.epoch > epoch
    assert not place.frost.vault.is_due(place.frost.vault.store.key_of("u100"))


def test_rotate_spreads_the_days_and_an_earlier_day_stays(place_of):
    place = place_of("hybrid", 300)
    place.sql("UPDATE keys SET state = 3")  # as if all were enrolled: their rows are not opened here
    today = place.frost.vault.today
    place.campaign("rotate", Filters(due_by=today + 9))
    days = dict(place.sql("SELECT due, count(*) FROM keys GROUP BY due"))

    assert set(days) == set(range(today, today + 10))
    assert max(days.values()) < 60
    before = place.sql("SELECT id, due FROM keys WHERE due <= ?", today + 4)
    report = place.campaign("rotate", Filters(due_from=today + 4, due_by=today + 4, not_due_by=today))
    assert report.progress.skipped == len(before) - place.number("SELECT count(*) FROM keys WHERE due = ?", today)
    assert place.sql("SELECT id, due FROM keys WHERE due < ?", today + 4) == [
        row for row in before if row[1] < today + 4
    ]
    assert place.number("SELECT max(due) FROM keys") == today + 4


@pytest.mark.parametrize(("custody", "users"), [("hybrid", USERS), ("hierarchical", 300), ("direct", 12)])
def test_destroy_removes_exactly_those_who_match(place_of, custody, users):
    place = place_of(custody, users)
    report = place.campaign("destroy", Filters(state="dealt"))

    assert outcome(report) == (users - ENROLLED, users - ENROLLED, 0, 0)
    assert place.number("SELECT count(*) FROM keys WHERE state = 4") == users - ENROLLED
    assert place.number("SELECT count(*) FROM claims") == 0
    place.check(users)


def test_a_campaign_destroys_nothing_in_an_hsm_and_naming_the_user_ends_what_it_began(place_of):
    place = place_of("direct", 12)
    frost = place.frost
    before = sorted(key.label for key in frost.hsm.keys("icehouse-"))
    place.campaign("destroy", Filters(state="dealt"))

    assert sorted(key.label for key in frost.hsm.keys("icehouse-")) == before
    removed = next(key for key in frost.vault.store.every_key() if key.state is State.DESTROYED)
    assert not destroying.status(frost.vault, removed).destroyed
    told = frost.upkeep.trim()
    assert told.ready == ()
    assert len(told.kept) == 12 - ENROLLED
    assert all("'icehouse users destroy' destroys it" in kept.why for kept in told.kept)
    assert trimmed(frost).root_keys == ()
    assert sorted(key.label for key in frost.hsm.keys("icehouse-")) == before
    for user in [key.user for key in frost.vault.store.every_key() if key.state is State.DESTROYED]:
        assert destroyed(frost, user).destroyed
    gone = {kept.label for kept in told.kept}
    assert sorted(key.label for key in frost.hsm.keys("icehouse-")) == sorted({*before} - gone)
    assert destroying.status(frost.vault, removed).destroyed
    place.check(12)


def test_the_next_creation_destroys_nothing_in_an_hsm_either(place_of):
    place = place_of("direct", 12)
    frost = place.frost
    before = {key.label for key in frost.hsm.keys("icehouse-")}
    place.campaign("destroy", Filters(state="dealt"))
    assert frost.create_users(f"u{number}" for number in range(12)).created == 12 - ENROLLED

    assert before < {key.label for key in frost.hsm.keys("icehouse-")}
    assert len(trimmed(frost).root_keys) == 12 - ENROLLED
    place.check(12)


def test_a_removal_that_names_anothers_data_key_is_refused(place_of):
    place = place_of("direct", 12)
    frost = place.frost
    place.campaign("destroy", Filters(state="dealt"))
    removed = next(key for key in frost.vault.store.every_key() if key.state is State.DESTROYED)
    another = frost.vault.store.key_of("u0")
    place.sql("INSERT INTO removals (id, data_key) VALUES (?, ?)", removed.id, another.sealed.data_key)
    place.sql("UPDATE data_keys SET live = 0 WHERE number = ?", another.sealed.data_key)
    before = {key.label for key in frost.hsm.keys("icehouse-")}

    for act in (lambda: destroyed(frost, removed.user), lambda: frost.create_users([removed.user])):
        with pytest.raises(SealError, match="not his own"):
            act()
    assert before == {key.label for key in frost.hsm.keys("icehouse-")}


def test_a_removal_that_was_killed_is_ended_by_naming_the_user_again(place_of, monkeypatch):
    place = place_of("direct", 12)
    frost = place.frost

    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(destroying.root_keys, "move", killed)
        with pytest.raises(KilledError):
            destroyed(frost, "u11")

    assert [kept.changed for kept in frost.upkeep.trim().kept] == [False]
    assert destroyed(frost, "u11").destroyed
    assert frost.upkeep.trim().kept == ()


def test_suspend_stops_keys_that_are_overdue_until_they_are_resumed(place_of):
    place = place_of()
    device = enrolled(place.frost, "u100")
    today = place.frost.vault.today
    place.sql("UPDATE keys SET due = ? WHERE user IN ('u100', 'u1')", today - 15)
    place.sql("UPDATE keys SET due = ? WHERE user = 'u2'", today - 14)
    assert [user for user, _, _ in place.frost.overdue()] == ["u1", "u100"]
    report = place.campaign("suspend")

    assert outcome(report) == (2, 2, 0, 0)
    with pytest.raises(RefusedError) as refused:
        device.sign(place.frost, b"hello")
    assert refused.value.reason == "suspended"
    assert place.frost.resume_user("u100").state == "live"
    epoch = device.epoch
    device.sign(place.frost, b"hello")
    assert device.epoch > epoch
    place.check(USERS)


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        (Filters(epoch=1), "epoch = 1"),
        (Filters(suite="ed25519", state="live"), "state = 3"),
        (Filters(data_keys=(2,)), "id IN (SELECT id FROM claims WHERE data_key = 2) OR data_key = 2"),
        (Filters(origin="dealer", state="dealt"), "state = 2"),
        (Filters(unchanged_since=2**37), "1 = 1"),
    ],
)
def test_a_filter_lets_through_what_it_names(place_of, filters, matching):
    place = place_of()
    report = place.campaign("verify", filters)

    assert report.progress.done == report.campaign.matched
    assert report.campaign.matched == place.number(f"SELECT count(*) FROM keys WHERE {matching}")


def test_a_provider_stands_for_the_root_keys_that_it_holds(place_of):
    place = place_of()
    roots = place.office.roots_at("simulated")

    assert sorted(label.split("-")[2] for label in roots) == ["claim", "kek"]
    assert place.campaign("verify", Filters(root_keys=roots)).campaign.matched == USERS


@pytest.mark.parametrize("verb", ["verify", "reseal", "destroy"])
def test_days_to_rotate_by_are_no_filter_for_another_verb(place_of, verb):
    place = place_of("hybrid", 300)

    with pytest.raises(RequestError, match="only rotate"):
        place.office.start(verb, Filters(due_by=place.frost.vault.today + 9))
    assert place.office.all() == []


def test_a_root_key_that_the_vault_never_had_chooses_nothing(place_of):
    place = place_of("hierarchical", 300)
    other = f"icehouse-{'00' * 16}-master-1"

    with pytest.raises(RequestError, match=f"no root key {other}"):
        place.office.start("destroy", Filters(root_keys=(other,)))
    assert place.office.all() == []
