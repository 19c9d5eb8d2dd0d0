"""`icehouse migrate`: bring the vault's database to the schema of this version."""

from __future__ import annotations

from icehouse import settings as vault_settings
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts
from icehouse.errors import RequestError
from icehouse.store import migrate as migration
from icehouse.store.engine import Database


def migrate(*, vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """Bring the database to the schema of this version. Back it up first; end older workers and servers first."""
    database = Database(vault_settings.load(named(vault)).store_url)
    if database.missing:
        msg = "the vault's database is not there"
        raise RequestError(msg)
    try:
        before = migration.version(database)
        migration.upgrade(database)
    finally:
        database.close()
    put_facts({"before": before, "now": migration.HEAD}, form)
