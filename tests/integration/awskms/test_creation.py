"""Making keys: CreateKey cannot be repeated, the alias is the claim, and no key is left that nobody can name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import HsmKey, KeyKind, open_hsm
from integration.awskms.calls import CONTEXT, KEK, impatient
from servers.awskms import Fault


def test_a_key_whose_answer_was_lost_is_found_again_by_its_description(server, hsm):
    server.weather.schedule = {("CreateKey", 1): Fault.LOST_ANSWER}
    hsm.create_key("kek", KeyKind.AES)

    assert server.count("CreateKey") == 1
    assert [key.arn for key in server.living()] == [server.key("kek").arn]


def test_a_key_that_lists_show_too_late_is_swept_when_another_was_made(server, hsm, monkeypatch):
    server.weather.schedule = {("CreateKey", 1): Fault.LOST_ANSWER}
    backend = server.backend()
    real = backend.list_keys
    monkeypatch.setattr(backend, "list_keys", lambda: real() if server.count("ListKeys") > 2 else [])
    hsm.create_key("kek", KeyKind.AES)

    assert server.count("CreateKey") == 2
    assert [key.arn for key in server.living()] == [server.key("kek").arn]


def test_an_alias_whose_answer_was_lost_is_known_for_its_own(server, hsm):
    server.weather.schedule = {("CreateAlias", 1): Fault.LOST_ANSWER}
    hsm.create_key("kek", KeyKind.AES)

    hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert len(server.living()) == 1


def test_a_key_that_was_left_without_its_alias_is_never_taken_and_deleted_once_another_has_the_label(server):
    with impatient(server) as hsm:
        server.weather.always = {"CreateAlias": Fault.UNAVAILABLE}
        with pytest.raises(HsmUnavailableError):
            hsm.create_key("kek", KeyKind.AES)
    (left,) = server.living()
    server.weather.always = {}

    # Anybody who may create keys may have made it, and may open what it wraps.
    with closing(open_hsm(server.uri)) as hsm:
        hsm.create_key("kek", KeyKind.AES)
        hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert server.key("kek") is not left
    assert server.living() == [server.key("kek")]


def test_a_key_whose_alias_is_not_listed_yet_is_not_swept_with_what_its_creation_left(server, hsm):
    server.weather.schedule = {("CreateKey", 1): Fault.LOST_ANSWER}
    server.rules.lag = 3
    hsm.create_key("kek", KeyKind.AES)

    assert server.living() == [server.key("kek")]


@pytest.mark.parametrize(
    "shape",
    [
        {"description": "icehouse icehouse/other 0"},
        {"description": "somebody else's"},
        {"description": "icehouse icehouse/kek 0", "key_state": "Disabled"},
        {"description": "icehouse icehouse/kek 0", "key_spec": "HMAC_512", "key_usage": "GENERATE_VERIFY_MAC"},
    ],
)
def test_no_other_key_without_an_alias_is_taken(server, hsm, shape):
    planted = server.plant("gone", **shape)
    server.backend().delete_alias("alias/icehouse/gone")
    hsm.create_key("kek", KeyKind.AES)

    assert server.key("kek") is not planted
    assert len(server.backend().keys) == 2


def test_a_foreign_key_without_an_alias_is_looked_at_once(server, hsm):
    server.plant("gone", description="somebody else's")
    server.backend().delete_alias("alias/icehouse/gone")
    for number in range(3):
        hsm.create_key(f"key-{number}", KeyKind.AES)

    # One for the foreign key, and one for each new alias.
    assert server.count("DescribeKey") == 1 + 3


@pytest.mark.usefixtures("wrapped")
def test_a_key_is_made_whole_by_whoever_may_not_look_at_keys_and_the_lack_is_told_later(server, hsm):
    server.rules.denied = {"kms:DescribeKey"}
    hsm.create_key("new", KeyKind.AES)
    assert server.key("new").key_state == "Enabled"

    with closing(open_hsm(server.uri)) as other, pytest.raises(HsmRefusedError, match=r"no permission: .*DescribeKey"):
        other.wrap(KEK, DataKey.random(), CONTEXT)
    assert len(server.living()) == 4


def test_of_two_processes_that_make_the_same_key_the_losers_is_deleted(server, hsm):
    with closing(open_hsm(server.uri)) as other, ThreadPoolExecutor(2) as pool:

        def make(which) -> bool:
            try:
                which.create_key("kek", KeyKind.AES)
            except HsmRefusedError:
                return False
            return True

        assert sum(pool.map(make, (hsm, other))) == 1
        wrapped = hsm.wrap(KEK, DataKey.random(), CONTEXT)
        other.unwrap(KEK, wrapped, CONTEXT)
    assert [key.arn for key in server.living()] == [server.key("kek").arn]


def test_an_alias_that_others_see_later_is_waited_for(server, hsm):
    server.rules.lag = 3
    hsm.create_key("kek", KeyKind.AES)

    with closing(open_hsm(server.uri)) as other:
        other.wrap(KEK, DataKey.random(), CONTEXT)
    assert server.count("DescribeKey") == 4 + 1


def test_lists_of_many_pages_are_read_to_their_end(server, hsm):
    server.rules.page = 3
    for number in range(7):
        hsm.create_key(f"key-{number}", KeyKind.AES)

    assert hsm.keys("") == [HsmKey(f"key-{number}", KeyKind.AES) for number in range(7)]


def test_a_new_key_is_tagged_for_policies_and_bills(server, hsm):
    hsm.create_key("kek", KeyKind.AES)
    tags = server.backend().list_resource_tags(server.key("kek").id)

    assert tags["Tags"] == [{"TagKey": "icehouse", "TagValue": "icehouse"}]


def test_vaults_of_two_prefixes_do_not_see_each_others_keys(server, hsm):
    hsm.create_key("kek", KeyKind.AES)
    with closing(open_hsm(server.uri_of(prefix="team/vault-2"))) as other:
        assert other.keys("") == []
        other.create_key("kek", KeyKind.HMAC)

    assert hsm.keys("") == [KEK]
    assert server.key("kek", "team/vault-2").key_spec == "HMAC_512"
