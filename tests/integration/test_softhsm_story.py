"""The whole of icehouse on a real PKCS#11 token, which is restarted, taken away and shared by processes meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conformance.hsm.patience import eventually
from icehouse import Device, create_hsm_frost
from icehouse.errors import HsmRefusedError, HsmUnavailableError, RefusedError, SealError
from icehouse.hsm import open_hsm
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import load
from softhsm import MODULE, close_all_sessions

PASSPHRASE = "correct horse"  # noqa: S105  of test devices
_MADE = iter(range(1, 1000))


@pytest.fixture
def new_token(softhsm):
    return lambda: softhsm.new_token(f"story-{next(_MADE)}")


def vault_directory(directory: Path, uri: str, claim_uri: str = "", cache: int = 0) -> Path:
    """A new vault; with no cache, every message needs the HSM."""
    directory.mkdir()
    hsm = f'[hsm]\nuri = "{uri}"\n' + (f'claim_uri = "{claim_uri}"\n' if claim_uri else "")
    (directory / "vault.toml").write_text(
        f'[store]\nurl = "sqlite:///vault.db"\n\n{hsm}\n[cache]\nkeys = {cache}\n', encoding="utf-8"
    )
    FrostService(create_vault(load(directory), "hybrid")).close()
    return directory


def enrolled(frost: FrostService, user: str, path: Path | None = None) -> Device:
    device = Device.create(user, path=path, passphrase=path and PASSPHRASE, **({"work_factor": 2} if path else {}))
    device.enrol(frost, frost.enrolment_code(user))
    return device


def sign(frost: FrostService, device: Device, message: bytes) -> None:
    """Sign, and have an unrelated library verify."""
    signature = frost.create_signing_ceremony(message, [device.user, "server"]).run(device)
    Ed25519PublicKey.from_public_bytes(frost.get_shards(device.user).public_key).verify(signature, message)


def test_users_are_made_enrol_sign_and_rotate_on_a_token(new_token, tmp_path):
    token = new_token()
    config = {"module_path": str(MODULE), "token_label": token.label, "pin_source": str(token.pin_file)}
    store = f"sqlite:///{tmp_path}/vault.db"
    with create_hsm_frost("pkcs11", config, store=store) as frost:
        for user in ("alice", "bob"):
            frost.create_keygen_ceremony(2, [user, "server"])
        frost.create_users(f"user-{number}" for number in range(50))
        alice, bob = (enrolled(frost, user) for user in ("alice", "bob"))
        sign(frost, alice, b"one")
        before = frost.get_shards("alice")
        alice.rotate(frost)
        sign(frost, alice, b"two")
        after = frost.get_shards("alice")

    assert before.public_key == after.public_key
    assert after.epoch > before.epoch
    assert (after.provider, after.hsm_attested) == ("pkcs11", False)
    with create_hsm_frost("pkcs11", config, store=store) as frost:
        sign(frost, alice, b"three")
        sign(frost, bob, b"four")
        enrolled(frost, "user-49")
        assert frost.check() == 52


def test_a_restarted_token_is_not_noticed_by_anyone(new_token, tmp_path):
    with FrostService.open(vault_directory(tmp_path / "vault", new_token().uri)) as frost:
        frost.create_user_frost_shards("alice")
        close_all_sessions()
        alice = enrolled(frost, "alice")
        for number in range(5):
            close_all_sessions()
            sign(frost, alice, b"%d" % number)
            close_all_sessions()
            alice.rotate(frost)
        close_all_sessions()
        assert frost.create_users(["bob", "carol"]).created == 2
        close_all_sessions()
        assert frost.check() == 3


def test_shares_and_claims_may_stand_under_two_tokens(new_token, tmp_path):
    one, other = new_token(), new_token()
    path = vault_directory(tmp_path / "vault", one.uri, other.uri)
    with FrostService.open(path) as frost:
        frost.create_users(["alice", "bob"])
        alice = enrolled(frost, "alice")
        other.directory.rename(tmp_path / "away")
        # The claim key's token is needed to enrol, and for nothing after.
        sign(frost, alice, b"message")
        alice.rotate(frost)
        with pytest.raises(HsmUnavailableError):
            frost.enrolment_code("bob")
        (tmp_path / "away").rename(other.directory)
        bob = Device.create("bob")
        bob.enrol(frost, eventually(lambda: frost.enrolment_code("bob")))
        sign(frost, bob, b"message")

    for token, kind in ((one, "kek"), (other, "claim")):
        with closing(open_hsm(token.uri)) as hsm:
            assert [key.label.split("-")[2] for key in hsm.keys("icehouse-")] == [kind]


def test_a_device_that_signs_while_the_token_is_away_is_put_off_and_then_served(new_token, tmp_path):
    token = new_token()
    with FrostService.open(vault_directory(tmp_path / "vault", token.uri)) as frost:
        frost.create_users(["alice"])
        alice = enrolled(frost, "alice")
        epoch = alice.epoch
        token.directory.rename(tmp_path / "away")
        for attempt in (lambda: alice.sign(frost, b"message"), lambda: alice.rotate(frost)):
            with pytest.raises(RefusedError) as caught:
                attempt()
            assert (caught.value.reason, caught.value.authenticated) == ("unavailable", False)
        assert alice.epoch == epoch
        (tmp_path / "away").rename(token.directory)

        def again() -> None:
            try:
                alice.sign(frost, b"message")
            except RefusedError as refusal:
                raise HsmUnavailableError from refusal

        eventually(again)
        alice.rotate(frost)
        sign(frost, alice, b"message")


def test_data_keys_opened_lately_serve_while_the_token_is_away(new_token, tmp_path):
    token = new_token()
    with FrostService.open(vault_directory(tmp_path / "vault", token.uri, cache=16)) as frost:
        frost.create_users(["alice"])
        alice = enrolled(frost, "alice")
        token.directory.rename(tmp_path / "away")
        sign(frost, alice, b"message")
        (tmp_path / "away").rename(token.directory)


def test_a_vault_does_not_open_on_another_token_or_without_its_key(new_token, tmp_path):
    token, other = new_token(), new_token()
    path = vault_directory(tmp_path / "vault", token.uri)
    settings = path / "vault.toml"
    settings.write_text(settings.read_text().replace(token.uri, other.uri))

    with pytest.raises(HsmRefusedError, match="has the key"):
        FrostService.open(path)
    with closing(open_hsm(token.uri)) as hsm, closing(open_hsm(other.uri)) as elsewhere:
        for key in hsm.keys(""):
            elsewhere.create_key(key.label, key.kind)
    with pytest.raises(SealError, match="settings"):
        FrostService.open(path)


def test_a_fresh_process_serves_a_device_from_its_file(new_token, tmp_path):
    path = vault_directory(tmp_path / "vault", new_token().uri)
    with FrostService.open(path) as frost:
        frost.create_users(["alice"])
        enrolled(frost, "alice", tmp_path / "alice.device").close()

        told = story(path, tmp_path / "alice.device", "sign")
        with Device.open(tmp_path / "alice.device", PASSPHRASE) as alice:
            sign(frost, alice, b"after another process")
            assert alice.epoch == told["epoch"]


def test_a_process_forked_after_opening_serves_and_so_does_its_parent(new_token, tmp_path):
    path = vault_directory(tmp_path / "vault", new_token().uri)
    with FrostService.open(path) as frost:
        frost.create_users(["alice"])
        enrolled(frost, "alice", tmp_path / "alice.device").close()

    assert story(path, tmp_path / "alice.device", "fork")["served"] == ["child", "child", "parent"]


def story(vault: Path, device: Path, what: str) -> dict[str, object]:
    """Let a process of its own use the vault and the device."""
    script = Path(__file__).with_name("process_story.py")
    command = [sys.executable, script, vault, device, PASSPHRASE, what]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)
