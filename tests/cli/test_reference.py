"""`docs/reference/cli.md` is what the commands say of themselves; run this file to print it anew."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from typer.main import get_command

from icehouse.cli.main import app
from icehouse.cli.printer import Format

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
HEAD = """# The command line

This page is what `icehouse --help` and the help of every command say, and how commands end. A test holds it to that.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the request was wrong: mend it and repeat |
| 2 | something outside failed: the HSM, the database, the disk, the network; or stored bytes do not open |
| 130 | interrupted by Ctrl-C |
| 141 | whoever read the output went away |

Data goes to standard output, words for people to standard error: `icehouse: error: …` and, where something can be done,
`icehouse: hint: …`. `--format json` prints one JSON document; `users code` and `sign` without it print the token or the
signature alone, `verify` prints nothing. Nothing is ever overwritten.

With `--format json` an error is one object, `{"error": {"class": "…", "message": "…", "hint": "…"}}` with `hint`
possibly null, and the last line of standard error; warnings and lines about single lines of a file come before it.
The class is one of `icehouse.errors`. Standard output is empty then, except where the answer itself is bad news:
`doctor` prints its report, `users create --from-file` its counts, and `verify` prints `{"valid": false}` for a
signature that does not verify, with exit code 1 and no error. A long list is printed as it is read: where it ends in
an error, what came before stands without its `]`.

Secrets never come from arguments. A device file's passphrase comes from `--passphrase-file`, else from
`ICEHOUSE_PASSPHRASE`, else from a prompt on a terminal; an enrolment token from `--token-file`, else from
`ICEHOUSE_TOKEN`, else from a prompt. One line end at the end of such a file does not belong to the secret.

A vault is named by `--vault` or `ICEHOUSE_VAULT`: its directory, or a TOML file of settings. `ICEHOUSE_SECTION__FIELD`
overrides a setting: `ICEHOUSE_STORE__URL`, `ICEHOUSE_HSM__URI`, `ICEHOUSE_CACHE__SECONDS`. [Settings](settings.md)
lists them all, and what else is read from the environment; another variable that begins with `ICEHOUSE_` is refused.
"""
COMMANDS = (
    (),
    ("init",),
    ("users",),
    ("users", "create"),
    ("users", "list"),
    ("users", "code"),
    ("users", "overdue"),
    ("users", "suspend"),
    ("users", "resume"),
    ("users", "destroy"),
    ("device",),
    ("device", "enrol"),
    ("sign",),
    ("verify",),
    ("rotate",),
    ("show",),
    ("rewrap",),
    ("reseal",),
    ("campaign",),
    ("campaign", "start"),
    ("campaign", "list"),
    ("campaign", "status"),
    ("campaign", "pause"),
    ("campaign", "resume"),
    ("campaign", "cancel"),
    ("campaign", "due"),
    ("worker",),
    ("trim",),
    ("recover",),
    ("doctor",),
    ("exchange",),
    ("plan",),
    ("demo",),
    ("store",),
    ("store", "prepare"),
    ("cloudhsm",),
    ("cloudhsm", "up"),
    ("cloudhsm", "status"),
    ("cloudhsm", "test"),
    ("cloudhsm", "down"),
)


def helped(command: tuple[str, ...]) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        app(args=[*command, "--help"], prog_name="icehouse", standalone_mode=False)
    return said.getvalue().strip()


def page() -> str:
    os.environ["COLUMNS"] = "100"
    for variable in [name for name in os.environ if name.startswith("ICEHOUSE_")]:
        del os.environ[variable]
    parts = [f"\n## `{' '.join(('icehouse', *command))}`\n\n```text\n{helped(command)}\n```\n" for command in COMMANDS]
    return HEAD + "".join(parts)


def test_the_reference_is_what_the_commands_say(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))

    assert PAGE.read_text(encoding="utf-8") == page()


def commands(group: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    own = getattr(group, "commands", {})
    return {path}.union(*(commands(command, (*path, name)) for name, command in own.items()))


def test_every_command_is_in_the_reference():
    names = {tuple(line.strip("# `").split()[1:]) for line in page().splitlines() if line.startswith("## `")}

    assert names == commands(get_command(app))


def test_every_command_that_prints_data_does_so_in_both_formats():
    silent = {
        (),
        ("campaign",),
        ("store",),
        ("store", "prepare"),
        ("cloudhsm",),
        ("users",),
        ("device",),
        ("exchange",),
        ("demo",),
    }

    assert {form.value for form in Format} == {"table", "json"}
    assert {command for command in COMMANDS if "--format" not in helped(command)} == silent


if __name__ == "__main__":
    sys.stdout.write(page())
