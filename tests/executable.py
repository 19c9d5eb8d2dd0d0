"""The real `icehouse` executable, run in a place of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

ICEHOUSE = Path(sysconfig.get_path("scripts")) / "icehouse"
# Runs `icehouse` and kills it after its n-th sync of a file or a directory.
KILLED = """
import os, signal, sys
from icehouse.cli.main import main
real, left = os.fsync, int(sys.argv.pop(1))
def fsync(descriptor):
    global left
    real(descriptor)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
main()
"""
PASSPHRASE = "correct horse battery staple"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("icehouse: error: ")]


@dataclass(slots=True)
class Shell:
    """A place to run `icehouse` in: no terminal, no settings but the ones given."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    hidden: set[str] = field(default_factory=set)

    @property
    def vault(self) -> Path:
        return self.directory / "vault"

    @property
    def variables(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "SOFTHSM2_CONF", "TMPDIR") if name in os.environ}
        given = kept | {"LANG": "C.UTF-8", "ICEHOUSE_PASSPHRASE": PASSPHRASE} | self.environment
        return {name: value for name, value in given.items() if name not in self.hidden}

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return self.launch(ICEHOUSE, *arguments, **options)

    def launch(self, *command_line: object, **options: Any) -> subprocess.Popen[bytes]:
        command = [*self.before, *map(_argument, command_line)]
        # A shell's usual umask: what must not be read by others has to see to that itself.
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = pipes | {"umask": 0o022} | options
        return subprocess.Popen(command, cwd=self.directory, env=self.variables, start_new_session=True, **options)

    def run(self, *arguments: object, given: bytes = b"", **options: Any) -> Done:
        process = self.start(*arguments, **options)
        out, err = process.communicate(given, timeout=120)
        return Done(process.returncode, (out or b"").decode(), (err or b"").decode())

    def script(self, *arguments: object) -> Done:
        """Run a Python program of the test's own."""
        process = self.launch(sys.executable, *arguments)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out.decode(), err.decode())

    def do(self, *arguments: object, given: bytes = b"") -> Done:
        """Run what must succeed."""
        done = self.run(*arguments, given=given)
        assert done.code == 0, done.err
        return done

    def void_backups(self, *options: object) -> Done:
        """Trim, with consent to each root key that may be destroyed."""
        labels = self.do("trim", "--format", "json").json["root_keys_ready"]
        consent = [word for label in labels for word in ("--yes-destroy", label)]
        return self.do("trim", "--void-backups", *consent, *options)

    def token(self, user: str) -> str:
        """A file with a new enrolment token of a user."""
        token = self.do("users", "code", user).out
        file = self.directory / f"{user}.token"
        file.write_text(token)
        return str(file)

    def without(self, *capabilities: str) -> Shell:
        """The same place, for a process that lacks what root may do beyond a file's mode."""
        if os.geteuid() != 0:
            return self
        lost = ",".join(f"-{name}" for name in capabilities)
        return Shell(self.directory, self.environment, ("setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"))

    def sql(self, statement: str) -> None:
        """Change the vault's database behind its back."""
        with closing(sqlite3.connect(self.vault / "vault.db")) as connection, connection:
            connection.execute(statement)

    def contents(self) -> dict[str, bytes | None]:
        """Every file of the place, to compare."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.directory.rglob("*"))
        }


def _argument(argument: object) -> str | bytes:
    return argument if isinstance(argument, bytes) else str(argument)


def refused(shell: Shell, *arguments: object, code: int = 1, given: bytes = b"") -> str:
    """Run what must be refused with one clear error and change nothing; the words for people."""
    return all_refused(shell, [arguments], code=code, given=given)[0]


def all_refused(shell: Shell, commands: Sequence[Sequence[object]], *, code: int = 1, given: bytes = b"") -> list[str]:
    """Run commands that must each be refused with one clear error and change nothing, on all cores."""
    before = shell.contents()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = list(pool.map(lambda command: shell.run(*command, given=given), commands))
    for command, done in zip(commands, ended, strict=True):
        assert done.code == code, (command, done.err)
        assert len(done.errors) == 1, (command, done.err)
        assert "Traceback" not in done.err, command
        assert done.out == "", command
    assert shell.contents() == before
    return [done.err for done in ended]
