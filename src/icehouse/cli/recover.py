"""`icehouse recover`: a hierarchical vault anew, from its HSM and a list of its users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from icehouse.cli.options import BucketsOption, ExpectedUsersOption, FormatOption, VaultOption, buckets_of, named
from icehouse.cli.printer import Format, put_facts, say
from icehouse.errors import RequestError
from icehouse.store.engine import check_no_password
from icehouse.upkeep.rebuild import Rebuild, rebuild, without_epochs
from icehouse.upkeep.recover import Listed
from icehouse.vault.init import STORE
from icehouse.vault.settings import Settings, absolute

_ID_BYTES = 16


def recover(  # noqa: PLR0913  each is an option
    *,
    hsm: Annotated[str, typer.Option("--hsm", metavar="URI", help="The HSM that has the vault's master key.")],
    vault_id: Annotated[str, typer.Option("--vault-id", metavar="ID", help="The vault's id, as 'doctor' shows it.")],
    users: Annotated[
        list[Path],
        typer.Option(
            "--users", metavar="FILE", help="What 'users list --format json' wrote; of several, a later entry counts."
        ),
    ],
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="The database; without it SQLite in the vault.")
    ] = None,
    expected_users: ExpectedUsersOption = None,
    buckets: BucketsOption = None,
    floor: Annotated[
        int | None,
        typer.Option("--floor", metavar="N", help="An epoch no key went beyond, for keys whose epoch is not known."),
    ] = None,
    forget_epochs: Annotated[
        bool, typer.Option("--forget-epochs", help="The list is old: every device claims anew, with a new code.")
    ] = False,
    create_unknown: Annotated[
        bool, typer.Option("--create-unknown", help="Also make a key for users who are listed without a public key.")
    ] = False,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a hierarchical vault anew around the master key in its HSM; nothing is made where the list does not fit."""
    nodes = buckets_of("hierarchical", expected_users, buckets)
    if floor is not None and floor < 0:
        msg = f"--floor must be 0 or more, not {floor}"
        raise RequestError(msg)
    listed = _read(users)
    if forget_epochs:
        listed = [without_epochs(entry) for entry in listed]
    given = absolute(Settings(check_no_password(store) if store else STORE, hsm), Path.cwd())
    wanted = Settings(given.store_url if store else STORE, given.hsm_uri)
    what = Rebuild(_id_of(vault_id), nodes, listed, floor, create_unknown)
    recovered = rebuild(named(vault), wanted, what)
    put_facts({"live": recovered.live, "locked": recovered.locked, "destroyed": recovered.destroyed}, form)
    if recovered.locked:
        say(f"{recovered.locked} keys are locked: each device claims again with a new code ('icehouse users code')")


def _id_of(text: str) -> bytes:
    try:
        vault_id = bytes.fromhex(text)
    except ValueError:
        vault_id = b""
    if len(vault_id) != _ID_BYTES:
        msg = f"a vault's id is {2 * _ID_BYTES} hexadecimal digits, not {text!r}"
        raise RequestError(msg)
    return vault_id


def _read(files: list[Path]) -> list[Listed]:
    """The entries of every file; those of a later one in place of an earlier one's."""
    found: dict[str, Listed] = {}
    for file in files:
        entries = [Listed.parse(entry, f"{file}: entry {number}") for number, entry in enumerate(_entries(file), 1)]
        own = {entry.user: entry for entry in entries}
        if len(own) != len(entries):
            twice = next(entry.user for entry in entries if own[entry.user] is not entry)
            msg = f"{file} names {twice!r} twice"
            raise RequestError(msg)
        found |= own
    return list(found.values())


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        msg = f"{file} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    except (ValueError, RecursionError) as exc:
        msg = f"{file} is not JSON: {exc}"
        raise RequestError(msg) from exc
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        msg = f"{file} is no list of users: it must be an array of objects"
        raise RequestError(msg, hint="'icehouse users list --format json' writes one")
    return document
