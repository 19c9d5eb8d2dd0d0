"""Shares, data keys, codes, channel keys, passphrases and PINs, followed through every path: no trace is left."""

from __future__ import annotations

import base64
import io
import traceback
from contextlib import suppress
from pathlib import Path

import pytest

from icehouse._core import DeviceState, Passphrase, bare_refusal, data_key_to_bytes
from icehouse.custody import RootKeys
from icehouse.device.device import Device
from icehouse.errors import IcehouseError
from icehouse.hsm import open_hsm
from icehouse.model import Purpose
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault, open_vault
from icehouse.vault.settings import Settings
from tamper.attacker import inside, open_record, payload_of, row_context

PASSPHRASE = "correct horse battery staple"  # noqa: S105  this is what the tests look for
PIN = "8-5-1-9-2-PIN"


class Story:
    """A vault and a device on files, whose whole life is told while everything that is secret in it is noted down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marked: dict[str, bytes] = {"passphrase": PASSPHRASE.encode(), "PIN": PIN.encode()}
        self.errors: list[BaseException] = []
        self.shown = io.StringIO()
        pin = directory.parent / "pin"
        pin.write_text(PIN)
        self.settings = Settings(
            store_url=f"sqlite:///{directory / 'vault.db'}",
            hsm_uri=f"simulated:{directory / 'token'}?pin-source=file:{pin}",
        )
        hsm = open_hsm(self.settings.hsm_uri, create=True)
        self.frost = FrostService(create_vault(self.settings, "hybrid", RootKeys(hsm, hsm)))
        self.device = Device.create("alice", path=directory / "alice.age", passphrase=PASSPHRASE, work_factor=1)

    def note_device(self) -> None:
        """Everything secret that the device holds now."""
        held = inside(self.device._state)
        epoch = self.device.epoch
        if held["token"]:
            self.mark(f"code at {epoch}", held["token"]["code"])
        if held["request"]:
            self.mark(f"X25519 key at {epoch}", held["request"])
        for name in ("current", "pending"):
            part = held[name] and (held[name]["epoch"] if name == "pending" else held[name])
            if part:
                self.mark(f"device's share, {name} at {epoch}", part["share"])
                self.mark(f"channel key, {name} at {epoch}", part["channel_key"])
        if held["pending"]:
            self.mark(f"X25519 key of the offer at {epoch}", held["pending"]["device_key"])

    def note_vault(self) -> None:
        """Every data key, and every share under one."""
        vault = self.frost.vault
        key = vault.store.key_of("alice")
        assert key is not None
        offer = key.offer
        records = [("current", key.sealed, Purpose.SERVER, 2, None)]
        records += [("claim", key.claim, Purpose.CLAIM, 1, None)] if key.claim else []
        records += [("pending", offer.sealed, Purpose.SERVER, 2, offer)] if offer else []
        for role, sealed, purpose, participant, beside in records:
            data_key = data_key_to_bytes(vault.custody.open_number(sealed.data_key, purpose).key)
            context = row_context(key, role, sealed.data_key, participant, beside)
            self.mark(f"data key {sealed.data_key}", data_key.hex())
            self.mark(f"{role} record at {key.epoch}", open_record(data_key, sealed.record, context).hex())

    def mark(self, name: str, secret: str) -> None:
        self.marked[name] = bytes.fromhex(secret)

    def show(self, *things: object) -> None:
        """What a careless caller would print."""
        for thing in things:
            print(repr(thing), str(thing), getattr(thing, "__dict__", ""), file=self.shown)

    def fails(self, act: object) -> None:
        """Something that must fail, and whose error is kept."""
        with pytest.raises((IcehouseError, ValueError, TypeError)) as caught:
            act()  # type: ignore[operator]
        self.errors.append(caught.value)

    def tell(self) -> None:
        """Create, claim, prove, sign, rotate; and everything that can go wrong on the way."""
        frost, device, state = self.frost, self.device, self.device._state
        frost.create_users(["alice", "bob"])
        self.note_vault()
        token = frost.enrolment_code("alice")
        self.fails(lambda: DeviceState("alice").take_token(token[:-1]))
        self.fails(lambda: Device.create("bob").enrol(frost, token))
        token = frost.enrolment_code("alice")  # bob's claim stands until there is a newer code
        self.fails(lambda: device.enrol(Deaf("bad-mac"), token))
        self.note_device()
        self.fails(lambda: device.enrol(Deaf("unavailable")))
        state.accept_offer(frost.exchange(state.ask()))
        self.note_device()
        self.note_vault()
        self.fails(lambda: device.resolve(Deaf("conflict")))
        device.enrol(frost)
        self.note_device()
        self.note_vault()
        nonces, question = state.ask_signature(b"text")
        answer = frost.exchange(question)
        self.show(nonces, state, device, frost, frost.vault, frost.vault.store.key_of("alice"), frost.vault.custody)
        self.fails(lambda: state.accept_signature(nonces, question))
        self.fails(lambda: state.accept_signature(nonces, answer))
        frost.rotate_user_frost_shards("alice")
        state.prepare()
        self.note_device()
        state.accept_offer(frost.exchange(state.ask()))
        self.note_device()
        self.note_vault()
        device.sign(frost, b"text")
        self.note_device()
        self.note_vault()
        self.show(*frost.users(), frost.get_shards("alice"), self.settings, payload_of(answer))
        self.fails(lambda: Device.open(self.directory / "alice.age", PASSPHRASE))  # locked
        device.close()
        self.fails(lambda: Device.open(self.directory / "alice.age", "wrong"))
        self.fails(lambda: DeviceState.from_file(b"age-encryption.org/v1\n", Passphrase(PASSPHRASE)))

    def tamper(self) -> None:
        """Errors that name what does not fit."""
        frost = self.frost
        with frost.vault.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE keys SET attested = 1")
        self.fails(lambda: frost.check_user("alice"))
        frost.exchange(self.device._state.ask_status())
        with frost.vault.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE data_keys SET wrapped = zeroblob(60)")
            connection.exec_driver_sql("UPDATE vault SET custody = 'direct'")
        frost.vault.custody._opened.forget()
        self.fails(lambda: frost.check_user("alice"))
        self.fails(lambda: open_vault(self.settings))


class Deaf:
    """A cosigner that refuses everything, and proves nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def exchange(self, message: str) -> str:
        del message
        return bare_refusal(self.reason)


def spellings(secret: bytes) -> set[bytes]:
    """A secret as it might be written down."""
    text = {secret.hex(), secret.hex().upper(), secret[::-1].hex(), str(list(secret)), repr(secret)[2:-1]}
    text |= {str(int.from_bytes(secret, order)) for order in ("big", "little")}
    return {secret, secret[::-1], *(word.encode() for word in text), *inner_base64(secret)}


def inner_base64(secret: bytes) -> set[bytes]:
    """What base64 of a longer text holds of a secret, wherever in it the secret begins."""
    found = set()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        partial = (shift + len(secret)) % 3 > 0
        whole = encoded[4 if shift else 0 : -4 if partial else None]
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def found_in(story: Story, content: bytes) -> list[str]:
    """The names of the secrets that a content holds."""
    return [name for name, secret in story.marked.items() if any(word in content for word in spellings(secret))]


@pytest.fixture
def told(tmp_path, capfd, monkeypatch):
    directory = tmp_path / "vault"
    directory.mkdir()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    story = Story(directory)
    story.tell()
    yield story
    with suppress(IcehouseError):
        story.frost.close()
    capfd.readouterr()


def test_the_secrets_were_noted(told):
    """The search below looks for what there is: two shares and a channel key an epoch, data keys, the code, X25519."""
    names = " ".join(told.marked)

    assert {"code at 0", "claim record at 0", "current record at 0", "data key 1", "data key 2"} <= told.marked.keys()
    kinds = ("X25519 key of the offer", "pending record", "channel key, current", "channel key, pending")
    assert [kind for kind in kinds if kind not in names] == []
    assert len(told.marked) > 18


def test_the_search_finds_what_is_there(told):
    for name, secret in told.marked.items():
        for text in (secret, secret.hex().encode(), base64.b64encode(b"before" + secret + b"after")):
            assert name in found_in(told, b"x" + text + b"y")


def test_no_secret_is_in_a_file_that_the_story_left(told):
    files = [path for path in told.directory.parent.rglob("*") if path.is_file() and path.name != "pin"]

    assert {path.name for path in files} >= {"vault.db", "vault.db-wal", "token", "alice.age"}
    assert {str(path): found_in(told, path.read_bytes()) for path in files} == {str(path): [] for path in files}


def test_no_secret_is_in_a_log_of_any_level(told, caplog):
    told.tamper()
    logged = "\n".join(
        f"{record.getMessage()} {record.args!r} {record.exc_text} {record.__dict__!r}"
        for when in ("setup", "call")
        for record in caplog.get_records(when)
    )

    # SQLAlchemy did show its statements and their values, and icehouse what it refused.
    assert [word for word in ("INSERT INTO keys", "INSERT INTO offers", "is not served") if word not in logged] == []
    assert found_in(told, logged.encode()) == []


def test_no_secret_is_in_an_exception_or_in_what_it_followed_from(told):
    told.tamper()
    texts = []
    for error in told.errors:
        chain, seen = error, []
        while chain is not None:
            assert chain not in seen, f"{chain!r} follows from itself"
            seen.append(chain)
            texts += [str(chain), repr(chain), repr(chain.args), repr(vars(chain))]
            chain = chain.__cause__ or chain.__context__
        texts += traceback.format_exception(error)

    assert len(told.errors) > 12
    assert found_in(told, "\n".join(texts).encode()) == []


def test_no_secret_is_in_a_repr_or_on_the_terminal(told, capfd):
    terminal = capfd.readouterr()
    shown = told.shown.getvalue() + terminal.out + terminal.err

    assert "DeviceState(<redacted>)" in shown
    assert found_in(told, shown.encode()) == []


def test_no_secret_is_among_the_arguments_or_in_the_environment_of_the_process(told):
    process = Path("/proc/self")
    content = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()

    assert found_in(told, content) == []


def test_a_code_is_in_no_answer_and_in_no_row(told):
    """It is handed out once, and only the device's encrypted file keeps it."""
    with told.frost.vault.store.database.read() as connection:
        rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in ("keys", "claims", "offers")]

    assert found_in(told, repr(rows).encode()) == []
