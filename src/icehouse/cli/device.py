"""`icehouse device`: a user's device, in its encrypted file, against a vault on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli import secret
from icehouse.cli.options import DeviceOption, FormatOption, PassphraseOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts, say
from icehouse.device.device import Device
from icehouse.errors import RequestError
from icehouse.model import State
from icehouse.service import FrostService

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="A user's device, in its encrypted file.")

_TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help="A file with the enrolment token; else ICEHOUSE_TOKEN, else a prompt."
    ),
]


def facts_of_device(device: Device) -> dict[str, object]:
    """A device's public facts."""
    return {
        "user": device.user,
        "key": device.key_id.hex() if device.key_id else None,
        "epoch": device.epoch,
        "pending_epoch": device.pending_epoch,
        "public_key": device.public_key.hex() if device.public_key else None,
    }


@contextmanager
def opened(file: Path, passphrase_file: Path | None) -> Iterator[Device]:
    """A device whose file is there; looked for before anyone is asked for a passphrase."""
    if not file.is_file():
        msg = f"there is no device file at {file}"
        raise RequestError(msg, hint="make one with 'icehouse device enrol'")
    with Device.open(file, secret.passphrase(passphrase_file)) as device:
        yield device


@app.command("enrol")
def enrol(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user whose device this is.")],
    device: DeviceOption,
    *,
    token_file: _TokenOption = None,
    passphrase_file: PassphraseOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Claim USER's key for a device. Again after a crash, it goes on where it stopped."""
    with FrostService.open(named(vault)) as service:
        service.get_shards(user)
        if device.exists():
            _resume(service, user, device, (token_file, passphrase_file), form)
        else:
            _begin(service, user, device, (token_file, passphrase_file), form)


def _begin(
    service: FrostService, user: str, path: Path, secrets: tuple[Path | None, Path | None], form: Format
) -> None:
    token = _token_of(service, user, secrets[0])
    # Asked before a file is made, so that a wrong code leaves nothing behind.
    Device.check_token(service, user, token)
    with Device.create(user, path=path, passphrase=secret.new_passphrase(secrets[1])) as own:
        own.enrol(service, token)
        put_facts(facts_of_device(own), form)
    say(f"the device of {user!r} is in {path}; without its passphrase the file is worth nothing")


def _resume(
    service: FrostService, user: str, path: Path, secrets: tuple[Path | None, Path | None], form: Format
) -> None:
    with opened(path, secrets[1]) as own:
        if own.user != user:
            msg = f"{path} is the device of {own.user!r}, not of {user!r}"
            raise RequestError(msg, hint="nothing is overwritten: choose another path")
        # A newer token is taken in every state before the first commit: the one it has may be void by now. After one,
        # it is for a key that was rebuilt without its epoch.
        waiting = not own.epoch or service.get_shards(user).state != State.LIVE
        wanted = waiting and (secret.has_token(secrets[0]) or (not own.epoch and not own.has_token))
        own.enrol(service, _token_of(service, user, secrets[0]) if wanted else None)
        put_facts(facts_of_device(own), form)


def _token_of(service: FrostService, user: str, file: Path | None) -> str:
    token = secret.token(file).strip()
    if token.partition(".")[0] != service.get_shards(user).key_id.hex():
        msg = f"the enrolment token is not one for the key of {user!r}"
        raise RequestError(msg, hint="mint one with 'icehouse users code'")
    return token
