"""Creation of many keys: pages in order, durable one by one, whatever happens between them."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from consenting import destroyed
from icehouse import create_hsm_frost
from icehouse.errors import ConflictError, RequestError, StoreError
from icehouse.hsm import open_hsm
from icehouse.model import RECORDS_PER_DATA_KEY, BulkResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from icehouse import FrostService

PAGE = RECORDS_PER_DATA_KEY


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    pin = tmp_path / "pin"
    pin.write_text("123456")
    pin.chmod(0o600)
    open_hsm(f"simulated:{tmp_path}/token?pin-source=file:{pin}", create=True).close()
    return tmp_path


def opened(directory: Path) -> FrostService:
    config = {"path": str(directory / "token"), "pin_source": str(directory / "pin")}
    return create_hsm_frost("simulated", config, store=f"sqlite:///{directory / 'vault.db'}")


def names(count: int, first: int = 0) -> list[str]:
    return [f"user-{number}" for number in range(first, first + count)]


def stored(service: FrostService) -> list[str]:
    return [key.user for key in service.vault.store.every_key()]


def test_users_are_created_in_their_order_and_every_record_opens():
    with create_hsm_frost("simulated") as service:
        made = service.create_users(names(2 * PAGE + 300))

        assert made == BulkResult(2 * PAGE + 300, 0)
        assert stored(service) == names(2 * PAGE + 300)
        assert service.check() == 2 * PAGE + 300


def test_users_who_have_a_key_are_skipped_and_pages_stay_full():
    with create_hsm_frost("simulated") as service:
        service.create_users(names(2 * PAGE)[::2])
        before = service.hsm.operations.total
        made = service.create_users(names(4 * PAGE))

        assert made == BulkResult(3 * PAGE, PAGE)
        assert service.hsm.operations.total - before == 3 * 2
        assert service.check() == 4 * PAGE


def test_a_name_that_comes_again_is_created_once():
    with create_hsm_frost("simulated") as service:
        made = service.create_users([*names(PAGE + 10), *names(PAGE + 10), "user-0"])

        assert made.created == PAGE + 10
        assert stored(service) == names(PAGE + 10)


def test_a_bad_name_is_raised_when_the_pages_before_it_are_durable(directory: Path):
    with opened(directory) as service, pytest.raises(RequestError):
        service.create_users([*names(2 * PAGE + 5), ""])

    with opened(directory) as service:
        assert stored(service) == names(2 * PAGE)


def test_a_page_that_lost_a_race_is_done_again(directory: Path):
    with opened(directory) as service, opened(directory) as other:

        def users() -> Iterator[str]:
            yield from names(PAGE)
            # The first page is on its way to the database now; another process makes two of its users first.
            other.create_user_frost_shards("user-3")
            other.create_user_frost_shards("user-900")
            yield from names(PAGE, first=PAGE)

        made = service.create_users(users())

        assert made == BulkResult(2 * PAGE - 2, 2)
        assert sorted(stored(service)) == sorted(names(2 * PAGE))
        assert service.check() == 2 * PAGE


def test_pages_that_cannot_be_written_end_the_run_and_nothing_after_them_is_written(directory: Path):
    with opened(directory) as service:
        with sqlite3.connect(directory / "vault.db") as connection:
            # A rule of somebody else's: one of these two users, and not the other.
            connection.execute("CREATE UNIQUE INDEX one ON keys (generation) WHERE user IN ('user-1', 'user-3500')")
        connection.close()

        with pytest.raises(StoreError):
            service.create_users(names(9 * PAGE))

        assert stored(service) == names(3 * PAGE)


def test_a_user_of_another_suite_is_a_conflict_and_pages_before_it_stand():
    with create_hsm_frost("simulated") as service:
        service.create_user_frost_shards(f"user-{PAGE + 1}", suite="p256")

        with pytest.raises(ConflictError):
            service.create_users(names(2 * PAGE))

        assert stored(service) == [f"user-{PAGE + 1}", *names(PAGE)]


def test_users_who_have_a_key_are_found_after_pages_of_new_ones_too():
    with create_hsm_frost("simulated") as service:
        there = [f"user-{number}" for number in (3 * PAGE + 1, 5 * PAGE, 5 * PAGE + 7, 9 * PAGE)]
        service.create_users(there)
        made = service.create_users(names(10 * PAGE))

        assert made == BulkResult(10 * PAGE - len(there), len(there))
        assert sorted(stored(service)) == sorted(names(10 * PAGE))
        assert service.check() == 10 * PAGE


def test_a_destroyed_user_among_new_ones_gets_the_next_generation():
    with create_hsm_frost("simulated") as service:
        user = f"user-{3 * PAGE}"
        service.create_user_frost_shards(user)
        destroyed(service, user)
        made = service.create_users(names(4 * PAGE))

        assert made == BulkResult(4 * PAGE, 0)
        assert service.get_shards(user).generation == 1
        assert service.check() == 4 * PAGE


def test_an_interrupted_run_goes_on_where_it_stopped(directory: Path):
    class PowerCutError(Exception):
        pass

    def users() -> Iterator[str]:
        yield from names(2 * PAGE + 7)
        raise PowerCutError

    with opened(directory) as service, pytest.raises(PowerCutError):
        service.create_users(users())
    with opened(directory) as service:
        made = service.create_users(names(3 * PAGE))

        assert made == BulkResult(PAGE, 2 * PAGE)
        assert service.check() == 3 * PAGE


def test_at_most_two_hsm_operations_make_a_thousand_users():
    with create_hsm_frost("simulated") as service:
        before = service.hsm.operations.total
        service.create_users(names(5 * PAGE))

        assert (service.hsm.operations.total - before) * 1000 <= 2 * 5 * PAGE
