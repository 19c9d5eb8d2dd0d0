"""The queries of the operations guide run on both databases, and say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from conformance.custody.house import HYBRID, House
from icehouse import Device
from icehouse.errors import StoreError
from icehouse.hsm.simulated.simulated import SimulatedHsm

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "operate.md"
QUERIES = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request, tmp_path):
    """A vault of three users, one of whom has a device."""
    url = request.getfixturevalue("postgresql").new_url() if request.param == "postgresql" else ""
    made = House(tmp_path / "house", HYBRID, SimulatedHsm(), store_url=url)
    made.service.create_users(["alice", "bob", "carol"])
    Device.create("alice").enrol(made.service, made.service.enrolment_code("alice"))
    yield made
    made.close()


def answers(house) -> list[list[tuple[object, ...]]]:
    with house.service.vault.store.database.read() as connection:
        return [[tuple(row) for row in connection.execute(text(query))] for query in QUERIES]


def test_the_queries_tell_what_is_in_a_vault(house):
    users, due, offers, data_keys, root_keys, campaigns = answers(house)

    assert users == [(2, 2, 0), (3, 1, 0)]
    assert due == [(0, None)]
    assert offers == []
    assert data_keys == [("claim", "filling", 1, 2), ("server", "filling", 1, 3)]
    assert root_keys == [("claim", "current", 1), ("kek", "current", 1)]
    assert campaigns == []


def test_the_queries_run_in_psql_and_say_the_same(postgresql, tmp_path):
    url = postgresql.conninfo(postgresql.new_database())
    made = House(tmp_path / "house", HYBRID, SimulatedHsm(), store_url=url)
    made.service.create_users(["alice", "bob"])
    with pytest.raises(StoreError, match="stopped"):
        Device.create("alice").enrol(Stopping(made.service), made.service.enrolment_code("alice"))
    printed = [postgresql.psql(query, url.rpartition("/")[2]) for query in QUERIES]
    (hour, standing) = printed[2][0].split("|")

    assert printed == [["|".join(map(shown, row)) for row in rows] for rows in answers(made)]
    assert (int(hour) % 3600, int(standing)) == (0, 1)
    made.close()


def shown(value):
    """As psql prints it."""
    return "" if value is None else str(value)


class Stopping:
    """A cosigner that answers once."""

    def __init__(self, service):
        self.service, self.left = service, 1

    def exchange(self, message):
        if not self.left:
            msg = "stopped"
            raise StoreError(msg)
        self.left -= 1
        return self.service.exchange(message)
