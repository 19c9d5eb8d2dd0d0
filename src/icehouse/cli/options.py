"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from icehouse.cli.printer import Format
from icehouse.custody import Verb, allows, custody_class
from icehouse.errors import RequestError
from icehouse.model import DEFAULT_SUITE, SUITES
from icehouse.vault.opening import buckets_for

VaultOption = Annotated[
    Path | None,
    Option("--vault", envvar="ICEHOUSE_VAULT", metavar="PATH", help="The vault: its directory, or a TOML file."),
]
FormatOption = Annotated[Format, Option("--format", help="How data is printed.")]
SuiteOption = Annotated[str, Option("--suite", metavar="SUITE", help=f"One of {', '.join(SUITES)}.")]
DeviceOption = Annotated[Path, Option("--device", metavar="FILE", help="The device's encrypted file.")]
MaybeDeviceOption = Annotated[Path | None, Option("--device", metavar="FILE", help="The device's encrypted file.")]
PassphraseOption = Annotated[
    Path | None,
    Option(
        "--passphrase-file",
        metavar="FILE",
        help="A file with the device file's passphrase; else ICEHOUSE_PASSPHRASE, else a prompt.",
    ),
]
TaprootOption = Annotated[
    str | None,
    Option(
        "--taproot-root",
        metavar="HEX",
        help="secp256k1-tr only: tweak the key with this Merkle root, or with none where empty (BIP-341).",
    ),
]
CustodyOption = Annotated[
    str, Option("--custody", metavar="CUSTODY", help="hybrid, hierarchical, direct, or module:Class.")
]
ExpectedUsersOption = Annotated[
    int | None,
    Option("--expected-users", metavar="N", help="Hierarchical: about N/1,000 nodes; 0 for one a user."),
]
BucketsOption = Annotated[
    int | None, Option("--buckets", metavar="N", help="Hierarchical: N nodes; 0, the default, for one a user.")
]
TextOption = Annotated[str | None, Option("--text", metavar="TEXT", help="The message itself, instead of a file.")]

SUITE = DEFAULT_SUITE


def buckets_of(custody: str, expected_users: int | None, buckets: int | None) -> int:
    """How many nodes the users of a hierarchical vault share."""
    if expected_users is None and buckets is None:
        return 0
    if expected_users is not None and buckets is not None:
        msg = "--expected-users and --buckets say the same: give one of them"
        raise RequestError(msg)
    if not allows(custody_class(custody), Verb.SHARE_NODES):
        msg = f"--expected-users and --buckets are for hierarchical custody, not for {custody}"
        raise RequestError(msg)
    return buckets_for(expected_users) if expected_users is not None else buckets or 0


def named(vault: Path | None) -> Path:
    """The vault that was named, or `RequestError`."""
    if vault is None or not str(vault):
        msg = "no vault was named"
        raise RequestError(msg, hint="name it with --vault PATH or in ICEHOUSE_VAULT")
    return vault
