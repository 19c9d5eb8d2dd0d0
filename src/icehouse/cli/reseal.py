"""`icehouse reseal`: fresh data keys for the same shares."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts, put_rows, say
from icehouse.cli.progress import advancing
from icehouse.service import FrostService
from icehouse.store import data_keys


def reseal(
    *,
    data_key: Annotated[
        list[int] | None,
        typer.Option("--data-key", metavar="N", help="One that leaked; may be repeated. Without it, all are replaced."),
    ] = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Move records to fresh data keys, and name the users whom those given had exposed: to rotate, to replace."""
    with FrostService.open(named(vault)) as service:
        if data_key:
            found = service.upkeep.begin_reseal(data_key)
            _put_exposed(found.rotate, found.replace, form)
            # Killed from here on, the command names fewer when it is repeated.
            sys.stdout.flush()
        live = sum(row.live for row in data_keys.counts(service.vault.store.database))
        with advancing("resealing records", None if data_key else live) as advance:
            moved = service.upkeep.reseal(data_key or None, advance).moved
    if not data_key:
        put_facts({"users": moved}, form)
    say(f"the records of {moved} users are under fresh data keys; codes of those not enrolled are void")
    say("hint: 'icehouse trim' destroys the old data keys")


def _put_exposed(rotate: tuple[str, ...], replace: tuple[str, ...], form: Format) -> None:
    if form is Format.JSON:
        put_facts({"rotate": rotate, "replace": replace}, form)
    else:
        todo = [("rotate", user) for user in rotate] + [("replace", user) for user in replace]
        put_rows(("todo", "user"), [{"todo": what, "user": user} for what, user in todo], form)
    if rotate:
        say(f"hint: {len(rotate)} users must rotate: 'icehouse rotate USER' marks it due")
    if replace:
        say(f"hint: {len(replace)} users need a new key: 'icehouse users destroy USER', then 'icehouse users create'")
