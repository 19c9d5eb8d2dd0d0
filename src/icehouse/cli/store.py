"""`icehouse store`: the vault's tables, made by who owns them for who uses them."""

from __future__ import annotations

from typing import Annotated

import typer

from icehouse.cli.options import VaultOption, named
from icehouse.cli.printer import say
from icehouse.store import migrate, roles
from icehouse.store.engine import Database, check_no_password
from icehouse.store.vault_store import vault_id_in
from icehouse.vault import settings
from icehouse.vault.opening import check_vault_id

app = typer.Typer(help="The tables of a vault's database.", no_args_is_help=True)


@app.command("prepare")
def prepare(
    *,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="The database, as its owner; else the vault's.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="PostgreSQL: let this role use the tables."),
    ] = None,
    vault: VaultOption = None,
) -> None:
    """Make the tables or bring them to this version's schema; for PostgreSQL, say which role may use them."""
    own = settings.Settings(check_no_password(store), "") if store else settings.load(named(vault))
    database = Database(own.store_url)
    try:
        if (held := vault_id_in(database)) is not None:
            check_vault_id(own, held)
        migrate.upgrade(database)
        if role is not None:
            roles.grant(database, role)
    finally:
        database.close()
    say(f"the tables are at schema {migrate.HEAD}" + (f", for {role} to use" if role else ""))
