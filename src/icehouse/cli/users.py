"""`icehouse users`: make users' keys, list them, mint enrolment codes, destroy keys."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli.code import code
from icehouse.cli.destroy import destroy
from icehouse.cli.options import SUITE, FormatOption, SuiteOption, VaultOption, named
from icehouse.cli.periods import named_day, period
from icehouse.cli.printer import Format, complain, facts_of, put_facts, put_rows
from icehouse.cli.progress import counted
from icehouse.cli.roster import Roster
from icehouse.errors import RequestError
from icehouse.model import SERVER, check_suite, check_user
from icehouse.service import FrostService
from icehouse.users.create import check_participants
from icehouse.vault.rotation_policy import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Make users' keys, list them, mint enrolment codes, destroy keys.", no_args_is_help=False)
_FromFileOption = Annotated[
    Path | None, typer.Option("--from-file", metavar="FILE", help="One user a line; - for standard input.")
]
_OVERDUE = ("due", "state", "user")
_COLUMNS = ("key", "epoch", "state", "due", "changed", "suite", "public_key", "user")


@app.command("create")
def create(
    names: Annotated[list[str] | None, typer.Argument(metavar="[USER]...", help="The users.")] = None,
    *,
    count: Annotated[int | None, typer.Option("--count", metavar="N", help="Make PREFIX1 to PREFIXN.")] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="PREFIX", help="What --count puts before numbers.")
    ] = "user",
    from_file: _FromFileOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --from-file: make nothing where any line is bad.")
    ] = False,
    suite: SuiteOption = SUITE,
    threshold: Annotated[int, typer.Option("--threshold", metavar="T", help="2, of the user and the server.")] = 2,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a key for every user who has none. The same command again changes nothing."""
    given = sum(source is not None for source in (names or None, count, from_file))
    if given != 1:
        msg = "users come from arguments, from --count or from --from-file: give one of them"
        raise RequestError(msg)
    if strict and from_file is None:
        msg = "--strict is about the lines of --from-file"
        raise RequestError(msg)
    check_suite(suite)
    check_participants(threshold, ["user", SERVER])
    if names:
        _create_named(names, suite, named(vault), form)
    elif count is not None:
        _create_many(_numbered(prefix, count), count, suite, named(vault), form)
    elif from_file is not None:
        _create_listed(from_file, suite, named(vault), form, strict=strict)


def _create_named(names: list[str], suite: str, vault: Path, form: Format) -> None:
    # Every name is looked at before the first key is made.
    users = [check_user(name) for name in names]
    with FrostService.open(vault) as service:
        service.create_users(users, suite=suite)
        put_rows(_COLUMNS, [facts_of(service.get_shards(user)) for user in users], form)


def _numbered(prefix: str, count: int) -> Iterator[str]:
    if count < 1:
        msg = f"--count must be 1 or more, not {count}"
        raise RequestError(msg)
    check_user(f"{prefix}{count}")
    return (f"{prefix}{number}" for number in range(1, count + 1))


def _create_many(users: Iterator[str], total: int, suite: str, vault: Path, form: Format) -> None:
    with FrostService.open(vault) as service:
        result = service.create_users(counted(users, "making keys", total), suite=suite)
    put_facts({"created": result.created, "existing": result.existing}, form)


def _create_listed(file: Path, suite: str, vault: Path, form: Format, *, strict: bool) -> None:
    with FrostService.open(vault) as service, Roster.open(file) as roster:
        if strict:
            roster.rehearse()
            if roster.rejected:
                msg = f"{roster.rejected} lines of {file} are bad, so no key was made"
                raise RequestError(msg)
        result = service.create_users(counted(roster.users(), "making keys"), suite=suite)
    put_facts({"created": result.created, "existing": result.existing, "rejected": roster.rejected}, form)
    if roster.rejected:
        complain(f"{roster.rejected} lines of {file} are bad; every other one has its key")
        raise typer.Exit(1)


@app.command("list")
def list_(
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only keys changed at or after this ISO 8601 time."),
    ] = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List every user, in the order of creation; as JSON it is what 'icehouse recover' reads."""
    after = None if since is None else _time_of(since)
    with FrostService.open(named(vault)) as service:
        put_rows(_COLUMNS, (listed.entry() for listed in service.listing(after)), form)


def _time_of(text: str) -> datetime:
    """A moment; without an offset, in this machine's own time."""
    try:
        found = datetime.fromisoformat(text).astimezone()
        found.timestamp()
    except (ValueError, OverflowError) as exc:
        msg = f"--since must be an ISO 8601 time such as 2026-11-25T09:30:00Z, not {text!r}"
        raise RequestError(msg) from exc
    return found


app.command("code")(code)


@app.command("overdue")
def overdue(
    *,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="PERIOD", help="Due for longer than this; else the vault's policy.")
    ] = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the users whose rotation has been due for longer than the vault's policy allows."""
    days = None if grace is None else period("--grace", grace) // DAY
    with FrostService.open(named(vault)) as service:
        found = service.overdue(days)
        put_rows(_OVERDUE, ({"due": named_day(day), "state": state, "user": user} for user, day, state in found), form)


@app.command("suspend")
def suspend(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user.")],
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Let a user's key refuse every call until it is resumed; a standing offer is cancelled."""
    with FrostService.open(named(vault)) as service:
        put_facts(facts_of(service.suspend_user(user)), form)


@app.command("resume")
def resume(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user.")],
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Let a suspended key serve again; what is due stays due."""
    with FrostService.open(named(vault)) as service:
        put_facts(facts_of(service.resume_user(user)), form)


app.command("destroy")(destroy)
