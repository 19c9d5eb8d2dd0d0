"""What the command line says: data on standard output, words for people on standard error, and how it ends."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from typer import Abort, TyperException

from icehouse import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from icehouse.model import FrostShards

DONE, WRONG, FAILED = 0, 1, 2
INTERRUPTED = 130
PIPE_CLOSED = 141
"""Both as a shell shows a death by SIGINT and by SIGPIPE."""

EXIT_CODES: dict[type[errors.IcehouseError], int] = {
    errors.IcehouseError: FAILED,
    errors.RequestError: WRONG,
    errors.ConflictError: WRONG,
    errors.StaleEpochError: WRONG,
    errors.RefusedError: WRONG,
    errors.ProtocolError: FAILED,
    errors.SealError: FAILED,
    errors.HsmError: FAILED,
    errors.HsmUnavailableError: FAILED,
    errors.HsmRefusedError: FAILED,
    errors.StoreError: FAILED,
    errors.MissingExtraError: WRONG,
}
"""A row for every class; the tests demand it."""


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


def printable(text: str) -> str:
    """Text that does nothing to a terminal: a user's name is whatever an application chose."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(words: str) -> None:
    """Words for people."""
    sys.stderr.write(f"icehouse: {printable(words)}\n")
    sys.stderr.flush()


class _Errors:
    """The errors of one command: said at once to people, and to programs as one object when the command ends."""

    def __init__(self) -> None:
        self.form = Format.TABLE
        self.kept: list[tuple[str, str, str | None]] = []


_errors = _Errors()


def wanted_form(arguments: Sequence[str]) -> Format:
    """How a command line asks for its data, also one that cannot be parsed: errors come in the same form."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    values = [value for option, value in pairwise([*options, ""]) if option == "--format"]
    values += [option.partition("=")[2] for option in options if option.startswith("--format=")]
    return Format.JSON if Format.JSON in values else Format.TABLE


def complain_in(form: Format) -> None:
    """A command begins: its errors are printed in this form."""
    _errors.form = form
    _errors.kept.clear()


def complain(words: str, hint: str | None = None, *, kind: str = "RequestError") -> None:
    """An error, and what to do about it."""
    if _errors.form is Format.JSON:
        _errors.kept.append((kind, words, hint))
        return
    say(f"error: {words}")
    if hint:
        say(f"hint: {hint}")


def end_complaints() -> None:
    """A command ends: where programs read its errors, they are one object, the last line of standard error."""
    if not _errors.kept:
        return
    kinds, messages, hints = zip(*_errors.kept, strict=True)
    hint = "; ".join(dict.fromkeys(filter(None, hints))) or None
    error = {"class": kinds[0], "message": "; ".join(messages), "hint": hint}
    sys.stderr.write(json.dumps({"error": error}) + "\n")
    sys.stderr.flush()
    _errors.kept.clear()


def put(line: str) -> None:
    """One line of data."""
    sys.stdout.write(f"{line}\n")


def put_facts(facts: Mapping[str, object], form: Format) -> None:
    """The facts of one thing."""
    if form is Format.JSON:
        put(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        put(f"{name.replace('_', ' '):{width}}  {_text(value)}")


def put_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]], form: Format) -> None:
    """Many things, as they come: an array in JSON; else columns in order, so the last may have any width."""
    if form is Format.JSON:
        separator = "["
        for row in rows:
            sys.stdout.write(f"{separator}\n{json.dumps(row)}")
            separator = ","
        put("\n]" if separator == "," else "[]")
        return
    widths: list[int] = []
    for row in rows:
        cells = [_text(row[name]) for name in columns]
        if not widths:
            widths = [max(len(name), len(cell)) for name, cell in zip(columns, cells, strict=True)]
            put(_line([name.replace("_", " ").upper() for name in columns], widths))
        put(_line(cells, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value)) or "-"
    return printable(str(value))


def facts_of(shards: FrostShards) -> dict[str, object]:
    """A user's public facts, under the names of FORMATS."""
    return {
        "user": shards.user_id,
        "key": shards.key_id.hex(),
        "suite": shards.suite,
        "generation": shards.generation,
        "threshold": shards.threshold,
        "participants": shards.participants,
        "public_key": shards.public_key.hex(),
        "epoch": shards.epoch,
        "state": shards.state,
        "origin": shards.origin,
        "custody": shards.custody,
        "provider": shards.provider,
        "hsm_attested": shards.hsm_attested,
        "due": None if shards.due is None else shards.due.isoformat(),
        "changed": None if shards.changed is None else shards.changed.isoformat(),
    }


class _LogFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"icehouse: {record.levelname.lower()}: {printable(record.getMessage())}"


class _Once(logging.Filter):
    """Lets the same warning through once: a command may open the same HSM several times.

    Of so many different ones the oldest is forgotten, for a command may run for months.
    """

    _MOST = 1000

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            return True
        words = record.getMessage()
        fresh = words not in self._said
        self._said[words] = None
        if len(self._said) > self._MOST:
            del self._said[next(iter(self._said))]
        return fresh


def log_to_stderr() -> None:
    """Let the library's warnings and alarms reach people in the same form as everything else."""
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    handler.setFormatter(_LogFormatter())
    logger = logging.getLogger("icehouse")
    logger.addHandler(handler)
    logger.propagate = False


def explain(error: BaseException) -> int:
    """Say what went wrong; the exit code."""
    match error:
        case BrokenPipeError():
            return PIPE_CLOSED
        case SystemExit() if isinstance(error.__context__, BrokenPipeError):
            return PIPE_CLOSED  # Typer makes a plain exit of it
        case SystemExit():
            return error.code if isinstance(error.code, int) else WRONG
        case KeyboardInterrupt() | Abort():
            return INTERRUPTED
        case _:
            return _complain_of(error)


def _complain_of(error: BaseException) -> int:
    match error:
        case errors.IcehouseError():
            complain(str(error), error.hint, kind=type(error).__name__)
            return exit_code(error)
        case TyperException():
            complain(error.format_message(), "'icehouse COMMAND --help' says what a command takes")
            return WRONG
        case OSError():
            place = f": {error.filename}" if error.filename else ""
            complain(f"{error.strerror or error}{place}", kind=type(error).__name__)
            return FAILED
    # Nobody foresaw it: whoever mends it needs the stack, which shows no values.
    traceback.print_exception(error)
    complain("this is a fault in icehouse itself", "please report it with the lines above", kind=type(error).__name__)
    return FAILED


def exit_code(error: errors.IcehouseError) -> int:
    """1 where the request was wrong, 2 where something outside failed."""
    if isinstance(error, errors.RefusedError) and error.reason == "unavailable":
        return FAILED
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
