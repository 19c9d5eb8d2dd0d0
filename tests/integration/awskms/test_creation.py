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


def test_a_key_that_lists_show_too_late_is_swept_when_another_was_made(server, hsm):
    server.weather.schedule = {("CreateKey", 1): Fault.LOST_ANSWER}
    server.rules.list_lag = 1
    hsm.create_key("kek", KeyKind.AES)

    assert server.count("CreateKey") == 2
    assert [key.arn for key in server.living()] == [server.key("kek").arn]


def test_an_alias_whose_answer_was_lost_is_known_for_its_own(server, hsm):
    server.weather.schedule = {("CreateAlias", 1): Fault.LOST_ANSWER}
    hsm.create_key("kek", KeyKind.AES)

    hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert len(server.living()) == 1


def test_a_key_that_was_left_without_its_alias_is_taken_by_no_other_process_nor_destroyed_and_is_listed(server):
    with impatient(server) as hsm:
        server.weather.always = {"CreateAlias": Fault.UNAVAILABLE}
        with pytest.raises(HsmUnavailableError):
            hsm.create_key("kek", KeyKind.AES)
    (left,) = server.living()
    server.weather.always = {}

    # Anybody who may create keys may have made it, and may open what it wraps; or somebody took its alias from it.
    with closing(open_hsm(server.uri)) as hsm:
        hsm.create_key("kek", KeyKind.AES)
        hsm.wrap(KEK, DataKey.random(), CONTEXT)
        (told,) = hsm.leftovers()
    assert server.key("kek") is not left
    assert set(server.living()) == {server.key("kek"), left}
    assert (told.name, told.label) == (left.arn, "kek")
    assert f"schedule-key-deletion --key-id {left.arn}" in told.mend


def test_a_key_that_got_no_alias_in_time_is_gone_on_with_by_the_same_process(server):
    with impatient(server) as hsm:
        server.weather.always = {"CreateAlias": Fault.UNAVAILABLE}
        for _ in range(3):
            with pytest.raises(HsmUnavailableError):
                hsm.create_key("kek", KeyKind.AES)
        server.weather.always = {}
        hsm.create_key("kek", KeyKind.AES)

        hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert server.count("CreateKey") == 1
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


def test_foreign_keys_without_an_alias_are_not_looked_at_where_no_answer_was_lost_and_else_once(server, hsm):
    for _ in range(30):
        server.plant("gone", description="somebody else's")
        server.backend().delete_alias("alias/icehouse/gone")
    for number in range(3):
        hsm.create_key(f"key-{number}", KeyKind.AES)
    assert server.count("ListKeys", "ListAliases") == 1  # when it was opened
    # One before and one after, for each new alias.
    assert server.count("DescribeKey") == 2 * 3

    server.weather.schedule = {("CreateKey", number): Fault.LOST_ANSWER for number in (4, 5)}
    for number in range(3, 5):
        hsm.create_key(f"key-{number}", KeyKind.AES)
    assert server.count("DescribeKey") < 2 * 5 + 30 + 10


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
    # One before it was made, four until it was seen, and one of the other's.
    assert server.count("DescribeKey") == 1 + 4 + 1


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
