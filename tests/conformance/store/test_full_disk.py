"""A disk that is full in the middle of a long run: the error says how far it came, and the same call goes on."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from icehouse.errors import StoreError

USERS = [f"user-{number}" for number in range(6000)]
RAISES = (
    "CREATE FUNCTION {0}.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION "
    "'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$"
)
FULL = (
    "CREATE TRIGGER full_disk BEFORE INSERT ON {0}.keys FOR EACH ROW WHEN (NEW.id > 2500) "
    "EXECUTE FUNCTION {0}.full_disk()"
)


def fill_disk(house, request):
    """Let there be room for some of the users; what makes room again."""
    database = house.service.vault.store.database
    if database.backend == "postgresql":
        server, schema = request.getfixturevalue("postgresql"), house.store_url.rpartition("%3D")[2]
        for statement in (RAISES, FULL):
            server.admin(statement.format(schema))
        return lambda: server.admin(f"DROP TRIGGER full_disk ON {schema}.keys")
    most = {"pages": 250}

    def limit(connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most['pages']}")

    event.listen(database.engine, "begin", limit)
    return lambda: most.update(pages=1 << 30)


def test_a_run_that_filled_the_disk_says_how_far_it_came_and_goes_on(house, request):
    make_room = fill_disk(house, request)
    with pytest.raises(StoreError, match=r"at least [\d,]+ users of this run were made before, and stay") as caught:
        house.service.create_users(USERS)
    store = house.service.vault.store
    there = store.count()

    assert 0 < there < len(USERS)
    assert f"at least {there:,} users" in str(caught.value)
    assert "make room" in str(caught.value.hint)
    assert "nothing was written" not in str(caught.value.hint)
    make_room()
    again = house.service.create_users(USERS)
    assert (again.created, again.existing) == (len(USERS) - there, there)
    assert house.service.check() == len(USERS)
