"""PgBouncer on loopback, in front of a PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from servers.postgresql import OWNER_ID, PostgresServer, free_port

if TYPE_CHECKING:
    from typing import Self


class PgBouncer:
    """One pooler with a pool of so many sessions for each user and database."""

    def __init__(self, server: PostgresServer, mode: str, size: int, **settings: object) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "tests/install-packages installs it"
        self.place = Path(tempfile.mkdtemp(prefix="icehouse-pgbouncer-"))
        self.port = free_port()
        users = self.place / "users"
        users.write_text('"postgres" ""\n"behind" ""\n')
        given = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": users,
            "pool_mode": mode,
            "default_pool_size": size,
            "max_client_conn": 200,
            "ignore_startup_parameters": "options",
            "admin_users": "postgres",
            "logfile": self.place / "log",
        } | settings
        lines = [f"{name} = {value}" for name, value in given.items()]
        self._file = file = self.place / "pgbouncer.ini"
        file.write_text("\n".join(["[databases]", f"* = host=127.0.0.1 port={server.port}", "[pgbouncer]", *lines, ""]))
        owner: dict[str, object] = {}
        if os.getuid() == 0:
            for path in (self.place, users, file):
                os.chown(path, OWNER_ID, OWNER_ID)
            owner = {"user": OWNER_ID, "group": OWNER_ID, "extra_groups": []}
        self._process = subprocess.Popen([program, "-q", str(file)], **owner)  # type: ignore[call-overload]
        self._wait()

    def _wait(self) -> None:
        while True:
            assert self._process.poll() is None, (self.place / "log").read_text()
            try:
                psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/postgres").close()
            except psycopg.OperationalError:
                continue
            return

    def url(self, url: str) -> str:
        """The URL of a database of the server's, through the pooler."""
        return url.replace(f":{urlsplit(url).port}/", f":{self.port}/")

    def pool(self, mode: str) -> None:
        """Pool in another mode from now on."""
        text = self._file.read_text()
        before = next(line for line in text.splitlines() if line.startswith("pool_mode"))
        self._file.write_text(text.replace(before, f"pool_mode = {mode}"))
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer", autocommit=True) as admin:
            admin.pgconn.exec_(b"RELOAD")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.place)
