"""`icehouse show`: the public facts of a user's key, or of a device."""

from __future__ import annotations

from typing import Annotated

import typer

from icehouse.cli.device import facts_of_device, opened
from icehouse.cli.options import FormatOption, MaybeDeviceOption, PassphraseOption, VaultOption, named
from icehouse.cli.printer import Format, facts_of, put_facts
from icehouse.errors import RequestError
from icehouse.service import FrostService


def show(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="The user.")] = None,
    *,
    device: MaybeDeviceOption = None,
    passphrase_file: PassphraseOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the public facts of a user's key as the vault has them, or those of a device's file."""
    if (user is None) == (device is None):
        msg = "name a user or a --device"
        raise RequestError(msg)
    if user is not None:
        with FrostService.open(named(vault)) as service:
            put_facts(facts_of(service.get_shards(user)), form)
    elif device is not None:
        with opened(device, passphrase_file) as own:
            put_facts(facts_of_device(own), form)
