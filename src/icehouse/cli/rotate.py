"""`icehouse rotate`: new shares, same public key."""

from __future__ import annotations

from typing import Annotated

import typer

from icehouse.cli.device import facts_of_device, opened
from icehouse.cli.options import FormatOption, MaybeDeviceOption, PassphraseOption, VaultOption, named
from icehouse.cli.printer import Format, facts_of, put_facts, say
from icehouse.errors import RequestError
from icehouse.service import FrostService


def rotate(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Mark this user's rotation due.")] = None,
    *,
    device: MaybeDeviceOption = None,
    passphrase_file: PassphraseOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Rotate a device's shares now, or mark a user's rotation due at the device's next contact."""
    if (user is None) == (device is None):
        msg = "name a user, whose rotation becomes due, or a --device, which rotates now"
        raise RequestError(msg)
    with FrostService.open(named(vault)) as service:
        if user is not None:
            put_facts(facts_of(service.rotate_user_frost_shards(user)), form)
            say(f"a rotation of {user!r} is due; the device does it at its next contact")
        elif device is not None:
            with opened(device, passphrase_file) as own:
                own.rotate(service)
                put_facts(facts_of_device(own), form)
