"""Every public call refuses a wrong type as a wrong request, and not by whatever breaks first."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass

import pytest

import icehouse
from icehouse import Device, FrostService, RequestError, create_hsm_frost, plan
from icehouse.planner import Scenario
from icehouse.service import SigningCeremony
from icehouse.upkeep.upkeep import Upkeep

WRONG = {
    "str": (5, b"alice", ["alice"], object()),
    "int": ("2", 2.5, True, [2]),
    "bool": ("no", 1, []),
    "bytes": ("text", 5, [1]),
    "str | bytes": (5, ["text"]),
    "str | Path": (5, b"place", "a\0b", ["place"]),
    "str | Passphrase": (5, b"secret"),
    "datetime": ("2020-01-01", 5),
    "Iterable[str]": ("alice", b"alice", 5, [5], [None]),
    "Sequence[str]": ("alice", b"alice", 5, [5, "server"], [["alice"], "server"]),
    "Collection[str]": ("alice", b"alice", 5, [5], [None]),
    "Sequence[int]": ("1", 5, ["1"], [True]),
    "Mapping[str, Any]": (5, "path", ["path"], {5: "place"}),
    "Callable[[int], None]": (5, "print"),
    "Cosigner": (5, "https://vault.example"),
    "Device": (5, "alice"),
    "Scenario": (5, "users"),
    "Catalogue | str": (5, ["current"]),
    "Constraints": (5, ["no cloud"]),
}
"""Values that are not of a type, by its name in the signature."""
FUNCTIONS = {"create_hsm_frost": create_hsm_frost, "plan": plan}
CLASSES = (FrostService, SigningCeremony, Upkeep, Device)


@dataclass(frozen=True)
class Place:
    """A parameter of a public call."""

    owner: type | None
    call: str
    parameter: str
    kind: str
    optional: bool

    def __str__(self) -> str:
        return f"{self.owner.__name__ if self.owner else 'icehouse'}.{self.call}({self.parameter})"

    @property
    def wrong(self):
        return WRONG[self.kind] if self.optional else (*WRONG[self.kind], None)


def places():
    calls = [(None, name, call) for name, call in FUNCTIONS.items()]
    for owner in CLASSES:
        calls += [(owner, *member) for member in inspect.getmembers(owner, callable) if not member[0].startswith("_")]
    for owner, name, call in calls:
        for parameter in inspect.signature(call).parameters.values():
            if parameter.name != "self":
                kind = parameter.annotation.removesuffix(" | None")
                yield Place(owner, name, parameter.name, kind, kind != parameter.annotation)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """What each parameter takes, and the objects that the calls are of."""
    logging.disable(logging.ERROR)
    frost = create_hsm_frost("simulated")
    frost.create_users(["alice"])
    device = Device.create("alice")
    token = frost.enrolment_code("alice")
    device.enrol(frost, token)
    names = {
        "user_id": "alice",
        "user": "alice",
        "user_ids": ["alice"],
        "participants": ["alice", "server"],
        "threshold": 2,
        "message": b"hello",
        "hsm_provider": "simulated",
        "path": tmp_path_factory.mktemp("place") / "none",
        "passphrase": "secret",
        "cosigner": frost,
        "token": token,
        "device": device,
        "data_keys": [1],
        "scenario": Scenario(),
    }
    objects = {
        None: icehouse,
        FrostService: frost,
        SigningCeremony: frost.create_signing_ceremony(b"hello", ["alice", "server"]),
        Upkeep: frost.upkeep,
        Device: device,
    }
    yield names, objects
    device.close()
    frost.close()
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("place", list(places()), ids=str)
def test_a_wrong_type_is_a_wrong_request(place, right):
    names, objects = right
    call = getattr(objects[place.owner], place.call)
    required = [name for name, each in inspect.signature(call).parameters.items() if each.default is each.empty]
    arguments = {name: names[name] for name in required}
    for wrong in place.wrong:
        with pytest.raises(RequestError, match=r"must be|has none") as refused:
            call(**arguments | {place.parameter: wrong})

        assert not isinstance(refused.value.__context__, TypeError | AttributeError)


def test_names_are_not_taken_letter_by_letter(right):
    _, objects = right
    with pytest.raises(RequestError, match=r"user_ids must be a list, not of the type str"):
        objects[FrostService].create_users("bob")

    assert [shards.user_id for shards in objects[FrostService].users()] == ["alice"]


def test_a_value_of_a_wrong_type_is_not_repeated():
    with pytest.raises(RequestError) as refused:
        Device.open("nowhere", b"correct horse")

    assert "horse" not in str(refused.value)
    assert "a passphrase must be text, not of the type bytes" in str(refused.value)


def test_a_cosigner_that_answers_no_text_is_refused(right):
    _, objects = right

    class Mute:
        def exchange(self, _message):
            return b"not text"

    with pytest.raises(RequestError, match="the cosigner's answer must be text"):
        objects[Device].status(Mute())


def test_a_message_is_answered_as_text_and_as_the_bytes_that_came(right):
    _, objects = right
    frost = objects[FrostService]
    heard = []

    class Tap:
        def exchange(self, message):
            heard.append(message)
            return frost.exchange(message.encode())

    objects[Device].status(Tap())
    malformed = frost.exchange("no message")

    assert frost.exchange(heard[0]) == frost.exchange(bytearray(heard[0], "ascii")) == frost.exchange(heard[0].encode())
    assert frost.exchange(b"\xff\xfe") == malformed
