"""A fuzz of `exchange` that knows what a message is: every type, every suite, and a database bent beside it.

No message is answered with a traceback, none hangs, and none changes what an honest one would not have changed.
`make soak` sends a million: `python -m fuzz.exchange 1000000`.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fuzz.grammar import Writer
from fuzz.street import Street, wrong_change
from planted.bends import COLUMNS, VALUES
from tamper.attacker import reason_of
from tamper.world import TABLES

if TYPE_CHECKING:
    from fuzz.grammar import Message

PATIENCE = 120
"""Seconds in which a thousand messages must be answered: a hundred times what they take."""
_BENT_ONE_IN = 8
_SHOWN = 400


@dataclass
class Fuzzed:
    """What was answered how often, and what went wrong."""

    messages: int = 0
    bent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Fuzz:
    """A street, and somebody who says what nearly fits to it and writes into its database meanwhile."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  the same every time
        self.street = Street(directory)
        self.writer = Writer(self.random, self.street.voices)
        self.seen = Fuzzed()

    def run(self, count: int) -> Fuzzed:
        """Send so many messages; it ends with the tenth that goes wrong."""
        before = signal.signal(signal.SIGALRM, _ring)
        try:
            while self.seen.messages < count and len(self.seen.wrong) < 10:
                if self.seen.messages % 1000 == 0:
                    signal.alarm(PATIENCE)
                self._one()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        return self.seen

    def _one(self) -> None:
        message = self.writer.write()
        bend = self._bend() if self.random.randrange(_BENT_ONE_IN) == 0 else None
        rows = self.street.rows if bend is None else self.street.snapshot()
        version = self.street.version
        try:
            answered = reason_of(self.street.say(message.text))
        except Exception as exc:  # noqa: BLE001  whatever it is, it is what is looked for
            answered = f"raised {exc!r}"
        self.seen.messages += 1
        self.seen.answers[answered] += 1
        changed = self.street.version != version
        fault = self._fault(message, answered, self.street.snapshot() if changed else rows, rows)
        if fault:
            self.seen.wrong.append(f"{fault}\n  bent: {bend}\n  said: {message.text[:_SHOWN]!r}")
        if changed or bend:
            self.street.restore(self.street.rows)

    @staticmethod
    def _fault(message: Message, answered: str, after: object, rows: object) -> str | None:
        if answered.startswith("raised"):
            return answered
        if not message.authentic and not answered.startswith("bare:"):
            return f"what nobody authenticated was answered with {answered}"
        if after is rows:
            return None
        return wrong_change(rows, after, message.voice if message.authentic else None, answered)  # type: ignore[arg-type]

    def _bend(self) -> str | None:
        """A value somewhere in the database that icehouse never writes there; what was done."""
        table, column = self.random.choice([pair for pair in COLUMNS if pair[0] in TABLES])
        value = self.random.choice(VALUES)
        self.seen.bent += 1
        try:
            self.street.sql(f'UPDATE OR IGNORE "{table}" SET "{column}" = {value}')
        except sqlite3.Error:
            return None
        return f"{table}.{column} = {value[:60]}"


def _ring(*_: object) -> None:
    msg = f"a thousand messages took more than {PATIENCE} seconds: one of them hangs"
    raise TimeoutError(msg)


def main() -> None:
    """Send as many messages as the first argument says; the seed is the second."""
    logging.getLogger("icehouse").setLevel(logging.CRITICAL + 1)
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as directory:
        fuzz = Fuzz(Path(directory) / "street", seed)
        seen = fuzz.run(count)
        fuzz.street.close()
    for answered, times in seen.answers.most_common():
        sys.stdout.write(f"{times:>9,}  {answered}\n")
    sys.stdout.write(f"{seen.messages:>9,}  messages, {seen.bent:,} of them beside a bent database\n")
    sys.exit("\n".join(seen.wrong) or 0)


if __name__ == "__main__":
    main()
