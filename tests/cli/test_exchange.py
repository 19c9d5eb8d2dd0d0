"""`icehouse exchange`: one message a line, one answer a line."""

from __future__ import annotations

import json

from executable import PASSPHRASE
from icehouse.device.device import Device

MALFORMED = '{"v":1,"type":"refused","reason":"malformed"}'


class Line:
    """A cosigner at the other end of a process's standard input and output."""

    def __init__(self, process):
        self.process = process
        self.exchanged = 0

    def exchange(self, message: str) -> str:
        self.process.stdin.write(message.encode() + b"\n")
        self.process.stdin.flush()
        self.exchanged += 1
        return self.process.stdout.readline().decode().removesuffix("\n")


def test_a_device_does_everything_through_it(shell):
    token = shell.do("users", "code", "bob").out
    process = shell.start("exchange")
    line = Line(process)
    bob = Device.create("bob")
    bob.enrol(line, token)
    first = bob.sign(line, b"one")
    bob.rotate(line)
    second = bob.sign(line, b"two")
    out, _ = process.communicate()

    bob.group.verify(b"one", first)
    bob.group.verify(b"two", second)
    assert (bob.epoch, out, process.returncode) == (2, b"", 0)


LONG = b"." * (4 << 20)
NO_MESSAGES = [
    b"",
    b"x",
    b"a.b.c",
    b"\xff\xfe",
    b"{}",
    b'{"v":1}',
    b"[]",
    b"\r",
    LONG,
    LONG + b"x",
    LONG + b"xx",
    LONG * 2,
]


def test_each_line_that_is_no_message_gets_the_bare_answer(shell):
    done = shell.run("exchange", given=b"".join(line + b"\n" for line in NO_MESSAGES))

    assert done.out.splitlines() == [MALFORMED] * len(NO_MESSAGES)
    assert done.code == 0


def test_a_last_line_without_its_end_is_answered(shell):
    assert shell.run("exchange", given=b"x").out == f"{MALFORMED}\n"


def test_nothing_in_is_nothing_out(shell):
    assert shell.run("exchange").out == ""


def test_every_answer_but_an_unknown_key_is_about_the_key_that_was_named(shell):
    with Device.open(shell.directory / "alice.device", PASSPHRASE) as alice:
        message = alice._state.ask_status()
    header, payload, mac = message.split(".")
    bent = f"{header}.{payload}.{'A' * len(mac)}"
    answers = shell.run("exchange", given=f"{message}\n{bent}\n".encode()).out.splitlines()

    assert answers[0].startswith(f"{header}.")
    assert json.loads(answers[1]) == {"v": 1, "type": "refused", "reason": "bad-mac"}
