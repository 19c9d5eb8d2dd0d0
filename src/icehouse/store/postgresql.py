"""PostgreSQL's side of the store: how it is connected to, and what makes it refuse a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.errors import RequestError, StoreError
from icehouse.store import start_options
from icehouse.store.standby import WAITING

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

DRIVER = "postgresql+psycopg"
GAVE_WAY = {"40001", "40P01"}
"""Serialisation failure, deadlock: the transaction was undone so that another one could go on."""
WAIT_SECONDS = 30

_CONNECT = {
    "application_name": "icehouse",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    # Where several hosts are named, decisions are made on the one that takes writes.
    "target_session_attrs": "read-write",
}
_LOOK = f"""
SELECT current_schema(), pg_is_in_recovery(), current_setting('server_encoding'), ({WAITING}),
       current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')
"""
# What was looked at stays so for the session, whatever the server is told later, and the warning with which a cancelled
# wait for a standby ends is sent. Names are looked for in the vault's schema and nowhere else: not in a second one of
# the search path, where another vault's tables or another application's may be, nor among temporary ones.
_SETTLE = f"""
SELECT set_config('lock_timeout', '{WAIT_SECONDS}s', false),
       set_config('idle_in_transaction_session_timeout', '{2 * WAIT_SECONDS}s', false),
       set_config('search_path', quote_ident(current_schema()) || ', pg_temp', false),
       set_config('synchronous_commit', current_setting('synchronous_commit'), false),
       set_config('client_min_messages', 'warning', false)
"""


def normal(url: URL) -> URL:
    """A PostgreSQL URL with the one driver that is used, and its password where nothing prints it."""
    if url.drivername not in {"postgresql", "postgres", DRIVER}:
        msg = f"the store's driver must be psycopg, not {url.drivername.partition('+')[2]}"
        raise RequestError(msg, hint="write postgresql://…")
    password = url.query.get("password")
    url = url.set(drivername=DRIVER).difference_update_query(["password"])
    return url.set(password=password) if isinstance(password, str) else url


def connect_arguments(url: URL) -> dict[str, Any]:
    """What every connection gets that the URL says nothing of."""
    return {name: value for name, value in _CONNECT.items() if name not in url.query}


def check(connection: Any) -> bool:  # noqa: ANN401  the driver's own class
    """Refuse a server that may lose what it said was durable, or is another than was asked for; settle the session.

    Says whether commits were waiting for a standby just then.
    """
    before, connection.autocommit = connection.autocommit, True
    try:
        start_options.check(connection)
        schema, standby, encoding, waiting, *settings = connection.execute(_LOOK).fetchone()
        _check(schema, encoding, settings, standby=standby)
        connection.execute(_SETTLE)
    finally:
        connection.autocommit = before
    return bool(waiting)


def _check(schema: str | None, encoding: str, settings: list[str], *, standby: bool) -> None:
    if standby:
        msg = "the database is a standby, and icehouse decides on the primary only"
        raise StoreError(msg, hint="name the primary in the store's URL")
    if schema is None:
        msg = "the database has no schema that this role may use: none of its search_path is there for it"
        raise StoreError(msg, hint="grant the role what it needs: see docs/howto/postgresql.md")
    if encoding != "UTF8":
        msg = f"the database's encoding must be UTF8, not {encoding}"
        raise StoreError(msg, hint="make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    for name, value in zip(("fsync", "full_page_writes", "synchronous_commit"), settings, strict=True):
        if value == "off":
            msg = f"the database has {name} = off: it may lose what it said was durable"
            raise StoreError(msg, hint=f"set {name} = on, for the server, the database and the role")


_FACTS = """
SELECT current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') <> 'local',
       pg_has_role(current_user, 'pg_monitor', 'USAGE'),
       (SELECT count(*) FROM pg_stat_replication),
       has_schema_privilege(current_schema(), 'CREATE')
"""


def warnings(connection: Connection) -> list[str]:
    """What may be lost, and what this role could break, in words."""
    synchronous, may_see, standbys, may_create = connection.exec_driver_sql(_FACTS).one()
    found = []
    if not synchronous and not may_see:
        found.append(
            "this role may not see whether a standby copies the database; one that copies asynchronously and takes "
            "over forgets the last commits (GRANT pg_monitor shows it)"
        )
    if not synchronous and standbys:
        found.append(
            f"{standbys} standby servers copy the database, and no commit waits for them: one that takes over forgets "
            "the last commits, and devices that were told 'committed' are then ahead of the vault; "
            "set synchronous_standby_names"
        )
    if may_create:
        found.append("this role can change the schema: give the application a role of its own (icehouse store prepare)")
    return found
