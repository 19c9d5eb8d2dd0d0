"""Habits that real modules were seen to have, one by one, on a module that has each on demand."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest

from conformance.hsm.patience import eventually
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import HsmKey, KeyKind
from icehouse.hsm.checkup import Checkup
from servers.odd import START

CONTEXT = bytes(32)
CKM = {"CKM_AES_KEY_GEN": 0x1080, "CKM_AES_GCM": 0x1087, "CKM_GENERIC_SECRET_KEY_GEN": 0x350}
CKM |= {"CKM_SHA512_HMAC": 0x271, "CKM_EC_KEY_PAIR_GEN": 0x1040, "CKM_ECDSA": 0x1041}


def works(hsm) -> None:
    """Make and use a key of every kind."""
    kek, master, audit = (hsm.create_key(f"key-{kind}", kind) for kind in KeyKind)
    secret = DataKey.random()
    assert same_secret(hsm.unwrap(kek, hsm.wrap(kek, secret, CONTEXT), CONTEXT), secret)
    assert same_secret(hsm.mac(master, b"message"), hsm.mac(master, b"message"))
    assert len(hsm.sign(audit, bytes(32))) == 64
    assert hsm.keys("") == sorted([kek, master, audit], key=lambda key: key.label)


def test_a_token_whose_clock_nobody_can_read_is_opened_and_used(odd, opened):
    odd.habits.clock = 1

    works(opened(odd.uri()))


@pytest.mark.parametrize("named", ["token", "manufacturer", "model", "serial"])
def test_strings_padded_with_nuls_are_the_same_strings(odd, opened, named):
    # SoftHSM takes it from the name of the token's directory.
    serial = odd.token.directory.name.replace("-", "")[-16:]
    paths = {"manufacturer": ";manufacturer=SoftHSM%20project", "model": ";model=SoftHSM%20v2"}
    paths["serial"] = f";serial={serial}"
    odd.habits.nuls = 1
    hsm = opened(odd.uri(paths.get(named, "")))

    assert hsm.info.model == "SoftHSM project SoftHSM v2"
    works(hsm)


@pytest.mark.parametrize("then", [1, 2], ids=["the operation goes on", "the operation has ended"])
def test_a_size_query_that_is_too_small_is_asked_again(odd, opened, then):
    odd.habits.small = then

    works(opened(odd.uri()))


def test_keys_neither_derive_nor_wrap_whatever_the_module_gives_them_by_default(odd, opened):
    odd.habits.derives = 1
    hsm = opened(odd.uri())
    works(hsm)

    assert [hsm.attributes(key.label)["CKA_DERIVE"] for key in hsm.keys("")] == [False, False, False]


def test_a_module_that_wants_a_configuration_gets_it_from_the_uri(odd, opened):
    odd.habits.arguments = 1
    with pytest.raises(RequestError, match="wants to be told how to start") as caught:
        opened(odd.uri())
    assert "module-init-args" in caught.value.hint
    with pytest.raises(RequestError, match="does not take these module-init-args"):
        opened(odd.uri(query="&module-init-args=anything"))
    hsm = opened(odd.uri(query=f"&module-init-args={quote(START)}"))

    works(hsm)
    with pytest.raises(RequestError, match="other module-init-args"):
        opened(odd.uri())


def test_a_module_that_starts_anew_gets_its_configuration_again(odd, opened, softhsm):
    odd.habits.arguments = 1
    hsm = opened(odd.uri(query=f"&module-init-args={quote(START)}"))
    key = hsm.create_key("key", KeyKind.HMAC)
    away = softhsm.directory / f"{odd.token.label}.away"
    odd.token.directory.rename(away)
    with pytest.raises(HsmUnavailableError):
        hsm.create_key("other", KeyKind.HMAC)
    away.rename(odd.token.directory)

    eventually(lambda: hsm.mac(key, b"message"))


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize("times", [1, 3])
def test_a_new_key_that_is_listed_twice_for_a_moment_is_neither_refused_nor_destroyed(odd, opened, kind, times):
    hsm = opened(odd.uri())
    hsm.create_key("other", KeyKind.AES)
    odd.habits.twice = times
    key = hsm.create_key("key", kind)

    assert key in hsm.keys("")
    assert odd.habits.made == 2


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_new_key_that_is_listed_twice_for_good_is_not_destroyed_as_anothers(odd, opened, kind):
    hsm = opened(odd.uri())
    odd.habits.twice = 10**6
    key = hsm.create_key("key", kind)
    odd.habits.twice = 0

    assert hsm.keys("") == [key]
    hsm.destroy_key(key)
    assert hsm.keys("") == []


def test_a_key_of_another_process_under_the_same_label_still_counts_as_one(odd, opened, softhsm):
    hsm = opened(odd.uri())
    softhsm.new_key(odd.token, "key", "--private", "--sensitive")

    with pytest.raises(HsmRefusedError, match="already has a key labelled 'key'"):
        hsm.create_key("key", KeyKind.AES)
    assert hsm.keys("") == [HsmKey("key", KeyKind.AES)]


@pytest.mark.parametrize("habit", ["twice", "none"])
@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_key_that_is_listed_twice_or_not_at_all_for_a_moment_is_used_and_destroyed(odd, opened, kind, habit):
    first = opened(odd.uri())
    first.create_key("other", KeyKind.AES)
    key = first.create_key("key", kind)
    first.close()
    hsm = opened(odd.uri())
    setattr(odd.habits, habit, 3)
    if kind is KeyKind.AES:
        hsm.wrap(key, DataKey.random(), CONTEXT)
    elif kind is KeyKind.HMAC:
        hsm.mac(key, b"message")
    else:
        hsm.sign(key, bytes(32))
    setattr(odd.habits, habit, 2)
    hsm.destroy_key(key)

    assert hsm.keys("") == [HsmKey("other", KeyKind.AES)]


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_module_that_has_no_memory_for_a_moment_makes_the_key_in_the_end(odd, opened, kind):
    hsm = opened(odd.uri())
    odd.habits.memory = 2
    key = hsm.create_key("key", kind)

    assert hsm.keys("") == [key]
    assert odd.habits.made == 1


def test_a_module_that_goes_on_having_no_memory_is_unavailable_and_not_called_full(odd, opened):
    hsm = opened(odd.uri())
    odd.habits.memory = 10**6
    with pytest.raises(HsmUnavailableError, match=r"busy, or full .*DeviceMemory"):
        hsm.create_key("key", KeyKind.AES)

    odd.habits.memory = 0
    works(hsm)


NEEDED = {
    KeyKind.AES: ("CKM_AES_KEY_GEN", "CKM_AES_GCM"),
    KeyKind.HMAC: ("CKM_GENERIC_SECRET_KEY_GEN", "CKM_SHA512_HMAC"),
    KeyKind.ECDSA: ("CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA"),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NEEDED.items() for name in names])
def test_a_mechanism_that_is_missing_is_named_with_the_key_and_the_other_kinds_serve(odd, opened, kind, name):
    odd.habits.without = CKM[name]
    hsm = opened(odd.uri())
    with pytest.raises(HsmRefusedError, match=f"no {name}, which the key 'root' needs") as caught:
        hsm.create_key("root", kind)

    assert "doctor --hsm" in caught.value.hint
    assert hsm.info.capabilities == frozenset(KeyKind) - {kind}
    assert hsm.missing_mechanisms()[kind] == (name,)
    assert odd.habits.made == 0
    for other in hsm.info.capabilities:
        hsm.create_key(f"key-{other}", other)


@pytest.mark.parametrize(("kind", "name"), [(KeyKind.AES, "CKM_AES_GCM"), (KeyKind.HMAC, "CKM_SHA512_HMAC")])
def test_a_key_that_is_there_without_its_mechanism_is_refused_by_the_mechanisms_name(odd, opened, kind, name):
    with_all = opened(odd.uri())
    key = with_all.create_key("root", kind)
    with_all.close()
    odd.habits.without = CKM[name]
    hsm = opened(odd.uri())
    use = {
        KeyKind.AES: lambda: hsm.wrap(key, DataKey.random(), CONTEXT),
        KeyKind.HMAC: lambda: hsm.mac(key, b"message"),
    }

    with pytest.raises(HsmRefusedError, match=f"no {name}, which the key 'root' needs"):
        use[kind]()


def test_a_mechanism_that_is_refused_though_it_is_listed_is_named_too(odd, opened):
    hsm = opened(odd.uri())
    key = hsm.create_key("root", KeyKind.AES)
    hsm.wrap(key, DataKey.random(), CONTEXT)
    odd.habits.without = CKM["CKM_AES_GCM"]

    with pytest.raises(HsmRefusedError, match="no CKM_AES_GCM, which the key 'root' needs"):
        hsm.wrap(key, DataKey.random(), CONTEXT)


def found(uri):
    return {check.check: check for check in Checkup("hsm", uri).checks}


def test_doctor_says_which_custodies_a_module_can_serve(odd):
    checks = found(odd.uri())
    assert [checks[f"custody {name}"].ok for name in ("direct", "hybrid", "hierarchical")] == [True, True, True]

    odd.habits.without = CKM["CKM_AES_GCM"]
    checks = found(odd.uri())
    assert [checks[f"custody {name}"].ok for name in ("direct", "hybrid", "hierarchical")] == [None, None, True]
    assert "CKM_AES_GCM" in checks["custody hybrid"].detail
    assert checks["credentials"].ok is True


def test_doctor_says_no_to_a_module_that_can_serve_no_custody(odd, monkeypatch):
    odd.habits.without = CKM["CKM_AES_GCM"]
    monkeypatch.setattr("icehouse.hsm.checkup.KINDS_OF", {"hybrid": (KeyKind.AES,)})
    checks = found(odd.uri())

    assert checks["custody hybrid"].ok is False
    assert checks["custody hybrid"].mend


def test_a_module_that_calls_its_own_keys_foreign_is_used_only_with_the_profile_that_gives_this_up(odd, opened, caplog):
    odd.habits.foreign = 1
    hsm = opened(odd.uri())
    key = hsm.create_key("key", KeyKind.HMAC)

    with pytest.raises(HsmRefusedError, match="its CKA_LOCAL is false"):
        hsm.mac(key, b"message")
    with pytest.raises(RequestError, match="profile nss is not for a token made by 'SoftHSM project'"):
        opened(odd.uri(query="&profile=nss"))
    assert "gives up a check" not in caplog.text
    works_with = opened(odd.uri(";manufacturer=SoftHSM%20project", "&profile=nss"))
    works_with.mac(key, b"message")
    assert "profile=nss gives up a check: that a key was made inside the token (CKA_LOCAL)" in caplog.text


def test_the_profile_that_gives_up_one_check_keeps_all_others(odd, opened, softhsm, tmp_path):
    odd.habits.foreign = 1
    hsm = opened(odd.uri(";manufacturer=SoftHSM%20project", "&profile=nss"))
    (tmp_path / "key").write_bytes(os.urandom(32))
    softhsm.new_key(odd.token, "leaves", "--private", "--sensitive", "--extractable")
    options = ("--type", "secrkey", "--key-type", "AES:", "--private", "--sensitive", "--label", "came")
    softhsm.tool(odd.token, "--write-object", str(tmp_path / "key"), *options)

    with pytest.raises(HsmRefusedError, match="CKA_EXTRACTABLE is true"):
        hsm.wrap(HsmKey("leaves", KeyKind.AES), DataKey.random(), CONTEXT)
    with pytest.raises(HsmRefusedError, match="CKA_NEVER_EXTRACTABLE is false"):
        hsm.wrap(HsmKey("came", KeyKind.AES), DataKey.random(), CONTEXT)
