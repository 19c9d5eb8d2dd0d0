"""AWS KMS agrees with itself late: what is not known yet is waited for, and no key is lost by it."""

from __future__ import annotations

from contextlib import closing

import pytest

from executable import Shell
from icehouse._core import DataKey
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import KeyKind, labelled, open_hsm
from integration.awskms.calls import AUDIT, CALLS, CONTEXT, KEK, LABELS, MASTER, impatient
from servers.awskms import ENVIRONMENT, Fault

USES = {KEK: "Encrypt", MASTER: "GenerateMac", AUDIT: "Sign"}


def pending(server):
    return [key for key in server.backend().keys.values() if key.key_state == "PendingDeletion"]


@pytest.mark.parametrize("key", USES)
@pytest.mark.parametrize("lags", [{"key_lag": 3}, {"state_lag": 3}, {"key_lag": 2, "state_lag": 2, "lag": 3}])
def test_a_new_key_that_is_not_known_everywhere_yet_is_made_and_used(server, hsm, key, lags):
    for name, calls in lags.items():
        setattr(server.rules, name, calls)
    hsm.create_key(key.label, key.kind)
    CALLS[USES[key]](hsm, b"")

    assert server.living() == [server.key(key.label)]
    assert pending(server) == []


@pytest.mark.parametrize("key", USES)
@pytest.mark.parametrize("part", [0, 1])
def test_lag_after_the_alias_was_made_is_waited_for_by_every_use(server, hsm, key, part):
    hsm.create_key(key.label, key.kind)
    server.rules._new[server.key(key.label).id] = [0 if part else 4, 4 if part else 0, 0]

    CALLS[USES[key]](hsm, b"")


def test_a_key_that_is_not_known_in_time_is_unavailable_and_gone_on_with(server):
    server.rules.key_lag = 1000
    with impatient(server) as hsm:
        for _ in range(2):
            with pytest.raises(HsmUnavailableError, match="not known everywhere yet") as caught:
                hsm.create_key("kek", KeyKind.AES)
        assert "minutes" in caught.value.hint
        (made,) = server.living()
        server.rules._new[made.id] = [0, 0, 0]
        hsm.create_key("kek", KeyKind.AES)

        hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert server.key("kek") is made
    assert pending(server) == []


def test_init_is_finished_under_lag_and_leaves_no_key_to_be_deleted(server, tmp_path):
    server.rules.lag, server.rules.key_lag, server.rules.state_lag = 2, 2, 1
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")} | ENVIRONMENT)
    shell.do("init", "--hsm", server.uri)
    shell.do("users", "create", "alice")
    shell.do("rewrap")

    assert pending(server) == []
    assert len(server.living()) == 4


@pytest.mark.parametrize("lag", [2, 1000])
def test_a_key_whose_alias_was_made_unheard_and_is_not_known_yet_is_never_destroyed(server, lag):
    with impatient(server) as hsm:
        server.weather.schedule = {("CreateAlias", 1): Fault.LOST_ANSWER}
        server.rules.lag = lag
        if lag > 100:
            with pytest.raises(HsmUnavailableError, match="not known everywhere yet"):
                hsm.create_key("kek", KeyKind.AES)
        else:
            hsm.create_key("kek", KeyKind.AES)
        server.rules._young.clear()
        with closing(open_hsm(server.uri)) as other:
            wrapped = other.wrap(KEK, DataKey.random(), CONTEXT)
            other.unwrap(KEK, wrapped, CONTEXT)

        assert pending(server) == []
        assert len(server.living()) == 1
        if lag > 100:
            hsm.create_key("kek", KeyKind.AES)
        hsm.unwrap(KEK, wrapped, CONTEXT)
    assert server.count("CreateKey") == 1


def test_a_key_whose_alias_somebody_deleted_is_not_destroyed_but_listed_with_how_to_name_it_again(server, hsm):
    hsm.create_key("kek", KeyKind.AES)
    wrapped = hsm.wrap(KEK, DataKey.random(), CONTEXT)
    true = server.key("kek")
    server.backend().delete_alias("alias/icehouse/kek")

    with closing(open_hsm(server.uri)) as other:
        other.create_key("kek", KeyKind.AES)
        (left,) = other.leftovers()
    assert true.key_state == "Enabled"
    assert left.name == true.arn
    assert f"create-alias --alias-name alias/icehouse/kek --target-key-id {true.arn}" in left.mend
    hsm.unwrap(KEK, wrapped, CONTEXT)


def test_a_key_whose_alias_is_not_listed_yet_is_no_leftover(server, hsm):
    hsm.create_key("kek", KeyKind.AES)
    server.rules._young["alias/icehouse/kek"] = 1
    listed = server.backend().list_aliases()
    assert listed
    server.rules._young.clear()

    assert list(hsm.leftovers()) == []


def test_a_key_made_just_now_is_destroyed_by_its_arn_though_its_alias_is_not_known(server):
    server.rules.lag = 1000
    with impatient(server) as hsm:
        hsm.create_key("kek", KeyKind.AES)
        assert hsm.find("kek") == KEK
        until = hsm.destroy_key(KEK).recoverable_until

    assert until is not None
    assert server.living() == []


@pytest.mark.usefixtures("wrapped")
def test_a_destruction_whose_answer_was_lost_says_until_when_it_can_be_undone(server, hsm):
    server.weather.schedule = {("ScheduleKeyDeletion", 1): Fault.LOST_ANSWER}

    assert hsm.destroy_key(KEK).recoverable_until is not None
    assert len(pending(server)) == 1


@pytest.mark.parametrize("state", ["Creating", "Updating", "Unavailable"])
@pytest.mark.parametrize("action", CALLS)
def test_a_state_that_passes_is_waited_for_and_unavailable_at_last_never_refused(server, wrapped, action, state):
    key = server.key(LABELS[action])
    with impatient(server) as hsm:
        key.key_state = state
        with pytest.raises(HsmUnavailableError, match=f"'{LABELS[action]}' is {state}") as caught:
            CALLS[action](hsm, wrapped)
        assert "rewrap" not in caught.value.hint
        key.key_state = "Enabled"

        CALLS[action](hsm, wrapped)


@pytest.mark.parametrize("shape", [{"origin": "EXTERNAL"}, {"spec": "RSA_2048"}, {"key_state": "PendingImport"}])
def test_no_hint_advises_a_rewrap_that_would_need_the_very_key_that_is_refused(server, hsm, shape):
    server.plant("kek", **shape)

    with pytest.raises(HsmRefusedError) as caught:
        hsm.wrap(KEK, DataKey.random(), CONTEXT)
    assert "rewrap" not in caught.value.hint


@pytest.mark.usefixtures("wrapped")
def test_a_label_made_again_with_another_kind_says_why_it_cannot_and_makes_no_key(server, hsm):
    hsm.destroy_key(KEK)
    before = server.count("CreateKey")

    with pytest.raises(HsmRefusedError, match=r"names a key of kind aes until .* no key of another kind") as caught:
        hsm.create_key("kek", KeyKind.HMAC)
    assert "delete-alias" in caught.value.hint
    assert server.count("CreateKey") == before


@pytest.mark.usefixtures("wrapped")
def test_a_known_label_is_looked_for_in_one_call_however_many_keys_there_are(server, hsm):
    server.rules.page = 1
    before = len(server.calls)

    assert labelled(hsm, "master") == MASTER
    assert labelled(hsm, "mast") is None
    assert len(server.calls) == before + 2
