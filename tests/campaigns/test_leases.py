"""Pages are leased: a token decides who writes, and time only who may take over."""

from __future__ import annotations

from functools import partial
from threading import Event, Thread

import pytest

from icehouse.campaigns.meter import Meter
from icehouse.campaigns.verbs import VERBS, Page, end
from icehouse.campaigns.worker import WorkerPool
from icehouse.errors import ConflictError, RequestError
from icehouse.store import campaigns, leases
from icehouse.store.campaigns import CampaignState
from icehouse.store.leases import SupersededError
from icehouse.store.selection import Filters

USERS = 2500
LONG_AGO = "UPDATE pages SET beat = beat - 1000 WHERE state = 'leased'"


class Slow:
    """A worker that stops in the middle of its page until it is told to go on."""

    def __init__(self, frost, campaign):
        self.frost, self.database = frost, frost.vault.store.database
        self.meter = Meter.over(frost.vault.custody.roots, self.database)
        self.lease = leases.lease(self.database, "slow", 60, campaign)
        self.page = Page(frost.vault, self.lease, lambda: None, [])

    def fence(self, connection, work):
        self.lease.note(connection, work, 0)

    def go_on(self):
        with self.database.fenced(self.fence):
            VERBS[self.lease.campaign.verb](self.page)
            self.database.change(partial(end, self.page))


def everything(place):
    """Every row of every table that a campaign writes."""
    return {
        table: place.sql(f"SELECT * FROM {table}") for table in ("keys", "claims", "data_keys", "pages", "campaigns")
    }


@pytest.mark.parametrize("verb", ["reseal", "rewrap", "destroy", "rotate", "verify"])
def test_a_worker_that_wakes_after_its_page_was_taken_over_writes_nothing(place_of, verb):
    place = place_of("hybrid", USERS)
    number = place.office.start(verb, Filters(state="dealt") if verb == "destroy" else Filters()).id
    slow = Slow(place.open(), number)
    place.sql(LONG_AGO)
    place.office.run(number, 2, Event())
    before = everything(place)
    assert campaigns.campaign_of(slow.database, number).state is CampaignState.DONE

    with pytest.raises(SupersededError):
        slow.go_on()
    assert everything(place) == before
    place.check(USERS)


def test_a_worker_that_wakes_while_another_has_its_page_is_refused_at_its_first_write(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("reseal").id
    slow = Slow(place.open(), number)
    place.sql(LONG_AGO)
    other = leases.lease(place.frost.vault.store.database, "other", 60)
    assert (other.number, other.token) == (slow.lease.number, slow.lease.token + 1)
    before = everything(place)

    with pytest.raises(SupersededError):
        slow.go_on()
    assert everything(place) == before


def test_a_page_whose_holder_lives_is_not_taken_over(place_of):
    place = place_of("hybrid", 300)
    number = place.office.start("verify").id
    slow = Slow(place.open(), number)

    assert leases.lease(place.frost.vault.store.database, "other", 60) is None
    slow.go_on()
    assert place.office.report(number).campaign.state is CampaignState.DONE


def test_a_page_that_was_half_done_is_counted_once(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("reseal").id
    slow = Slow(place.open(), number)
    with slow.database.fenced(slow.fence):
        VERBS["reseal"](slow.page)  # all of the work, and no end
    place.sql(LONG_AGO)
    place.office.run(number, 2, Event())
    progress = place.office.report(number).progress

    assert (progress.done, progress.skipped, progress.failed) == (USERS, 0, 0)
    place.check(USERS)


def test_a_cancelled_campaign_writes_nothing_more(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("destroy", Filters(state="dealt")).id
    slow = Slow(place.open(), number)
    assert place.office.cancel(number).state is CampaignState.CANCELLED
    before = everything(place)

    with pytest.raises(SupersededError):
        slow.go_on()
    assert everything(place) == before
    assert place.office.cancel(number).state is CampaignState.CANCELLED
    place.campaign("destroy", Filters(state="dealt"))


def test_a_paused_campaign_begins_no_page_until_it_is_resumed(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("verify").id
    slow = Slow(place.open(), number)
    place.office.pause(number)

    assert leases.lease(place.frost.vault.store.database, "other", 60) is None
    slow.go_on()  # a page that was begun comes to its end
    assert place.office.run(number, 2, Event()) is CampaignState.PAUSED
    assert place.office.report(number).progress.pages_done == 1
    place.office.resume(number)
    assert place.office.run(number, 2, Event()) is CampaignState.DONE


def test_what_has_ended_is_neither_paused_nor_resumed_nor_cancelled(place_of):
    place = place_of("hybrid", 300)
    number = place.campaign("verify").campaign.id

    for move in (place.office.pause, place.office.resume, place.office.cancel):
        with pytest.raises(ConflictError):
            move(number)
    with pytest.raises(RequestError):
        place.office.pause(99)


def test_two_crews_share_the_pages_of_a_campaign(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("reseal").id
    crews = [WorkerPool(place.open().vault, 1, campaign=number) for _ in range(2)]
    threads = [Thread(target=crew.run) for crew in crews]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    workers = {worker.rsplit("-", 1)[0] for (worker,) in place.sql("SELECT worker FROM pages")}

    assert workers <= {crew.name for crew in crews}
    assert place.office.report(number).progress.done == USERS
    place.check(USERS)


def test_a_second_campaign_of_a_verb_is_refused_while_the_first_is_under_way(place_of):
    place = place_of("hybrid", 300)
    first = place.office.start("verify")
    place.office.start("reseal")
    with pytest.raises(ConflictError):
        place.office.start("verify")
    with pytest.raises(ConflictError):  # also where both look before either writes
        campaigns.register(place.frost.vault.store.database, "verify", Filters(), [])
    place.office.cancel(first.id)

    assert place.campaign("verify").progress.done == 300


def test_a_crew_that_is_stopped_ends_at_its_pages_end(place_of):
    place = place_of("hybrid", USERS)
    number = place.office.start("verify").id
    stop = Event()

    assert place.office.run(number, 1, stop, lambda _: stop.set()) is CampaignState.RUNNING
    assert place.sql("SELECT state, count(*) FROM pages GROUP BY state") == [("done", 1), ("open", 4)]


def test_pages_that_nobody_works_on_are_announced_again(place_of):
    place = place_of("hybrid", USERS)
    number, database = place.office.start("verify").id, place.frost.vault.store.database
    assert leases.waiting(database, 60) == [(number, 5)]
    leases.lease(database, "slow", 60)
    assert leases.waiting(database, 60) == [(number, 4)]
    place.sql(LONG_AGO)
    assert leases.waiting(database, 60) == [(number, 5)]
    place.office.pause(number)

    assert leases.waiting(database, 60) == []
