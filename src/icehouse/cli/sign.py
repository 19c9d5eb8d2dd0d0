"""`icehouse sign` and `icehouse verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from icehouse import _core
from icehouse.cli.device import opened
from icehouse.cli.options import (
    SUITE,
    DeviceOption,
    FormatOption,
    PassphraseOption,
    SuiteOption,
    TaprootOption,
    TextOption,
    VaultOption,
    named,
)
from icehouse.cli.printer import WRONG, Format, put, put_facts, say
from icehouse.errors import ProtocolError, RequestError
from icehouse.model import MAX_MESSAGE_BYTES, SERVER, check_suite
from icehouse.service import FrostService

_MessageArgument = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE-FILE]", help="The file to sign; - for standard input.")
]


def sign(
    device: DeviceOption,
    message_file: _MessageArgument = None,
    *,
    text: TextOption = None,
    taproot_root: TaprootOption = None,
    passphrase_file: PassphraseOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Sign a message with a device and the vault; print the signature in hex."""
    message = _message(message_file, text)
    with FrostService.open(named(vault)) as service, opened(device, passphrase_file) as own:
        ceremony = service.create_signing_ceremony(message, [own.user, SERVER])
        signature = ceremony.run(own, taproot_root=taproot_root).hex()
        key = own.key_id or b""
        facts = {"user": own.user, "key": key.hex(), "epoch": own.epoch, "signature": signature}
    if form is Format.JSON:
        put_facts(facts, form)
    else:
        put(signature)


def verify(
    public_key: Annotated[str, typer.Option("--public-key", metavar="HEX", help="The user's public key.")],
    signature: Annotated[str, typer.Option("--signature", metavar="HEX", help="The signature.")],
    message_file: _MessageArgument = None,
    *,
    text: TextOption = None,
    suite: SuiteOption = SUITE,
    taproot_root: TaprootOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Verify a signature. Needs no vault, no device and no secret."""
    check_suite(suite)
    message = _message(message_file, text)
    try:
        _core.verify(suite, _hex(public_key, "public key"), message, _hex(signature, "signature"), taproot_root)
    except ProtocolError as exc:
        if form is Format.JSON:
            put_facts({"valid": False}, form)
            raise typer.Exit(WRONG) from exc
        msg = f"the signature does not verify under this public key: {exc}"
        raise RequestError(msg) from exc
    if form is Format.JSON:
        put_facts({"valid": True}, form)
    else:
        say("the signature is valid")


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        msg = f"the {what} must be hex digits, two a byte"
        raise RequestError(msg) from None


def _message(file: str | None, text: str | None) -> bytes:
    if (file is None) == (text is None):
        msg = "give the message once: a file, - for standard input, or --text"
        raise RequestError(msg)
    if text is not None:
        return _bounded(text.encode("utf-8", "surrogateescape"), "--text")
    if file == "-":
        return _read(sys.stdin.buffer, "standard input")
    path = Path(file or "")
    try:
        with path.open("rb") as opened_file:
            return _read(opened_file, str(path))
    except OSError as exc:
        msg = f"{path} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc


def _read(file: IO[bytes], name: str) -> bytes:
    return _bounded(file.read(MAX_MESSAGE_BYTES + 1), name)


def _bounded(message: bytes, name: str) -> bytes:
    if len(message) > MAX_MESSAGE_BYTES:
        msg = f"a message to sign has at most {MAX_MESSAGE_BYTES} bytes, and {name} has more"
        raise RequestError(msg, hint="sign its hash instead")
    return message
