"""What only a terminal, a signal or a closed pipe brings about."""

from __future__ import annotations

import os
import pty
import resource
import signal
import subprocess
from contextlib import suppress
from tempfile import TemporaryFile

import pytest

from executable import ICEHOUSE, PASSPHRASE
from icehouse.cli import progress


def until_closed(controller: int) -> bytes:
    """What a terminal shows until nobody writes to it any more."""
    seen = b""
    with suppress(OSError):  # that is how a terminal says that its other end was closed
        while more := os.read(controller, 4096):
            seen += more
    os.close(controller)
    return seen


class Typist:
    """Someone at a terminal."""

    def __init__(self, shell, *arguments):
        self.controller, terminal = pty.openpty()
        command = ["setsid", "--ctty", "--wait", ICEHOUSE, *arguments]
        self.process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=shell.directory, env=shell.variables
        )
        os.close(terminal)
        self.seen = b""

    def until(self, words: bytes) -> None:
        while words not in self.seen:
            self.seen += os.read(self.controller, 4096)

    def types(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def ends(self) -> int:
        self.seen += until_closed(self.controller)
        return self.process.wait(timeout=60)


def test_a_new_device_asks_for_its_token_and_twice_for_its_passphrase(shell):
    token = shell.do("users", "code", "bob").out
    del shell.environment["ICEHOUSE_VAULT"]
    shell.hidden.add("ICEHOUSE_PASSPHRASE")
    typist = Typist(shell, "device", "enrol", "bob", "--device", "b", "--vault", "vault")
    typist.until(b"Enrolment token: ")
    typist.types(token)
    typist.until(b"new device file: ")
    typist.types("a secret\n")
    typist.until(b"The same again: ")
    typist.types("a secret\n")

    assert typist.ends() == 0
    assert b"a secret" not in typist.seen
    assert token.strip().encode() not in typist.seen


def test_two_passphrases_that_differ_make_no_file(shell):
    shell.environment["ICEHOUSE_TOKEN"] = shell.do("users", "code", "bob").out
    shell.hidden.add("ICEHOUSE_PASSPHRASE")
    typist = Typist(shell, "device", "enrol", "bob", "--device", "b")
    typist.until(b"new device file: ")
    typist.types("one\n")
    typist.until(b"The same again: ")
    typist.types("two\n")

    assert typist.ends() == 1
    assert b"the two passphrases differ" in typist.seen
    assert not (shell.directory / "b").exists()


@pytest.mark.parametrize(("answer", "code", "state"), [("n\n", 1, "live"), ("y\n", 0, "removed")])
def test_a_key_is_destroyed_after_a_question(shell, answer, code, state):
    typist = Typist(shell, "users", "destroy", "alice")
    typist.until(b"Destroy the keys of alice for ever? [y/N]: ")
    typist.types(answer)

    assert typist.ends() == code
    assert shell.do("show", "alice", "--format", "json").json["state"] == state


def test_ctrl_c_at_a_prompt_ends_quietly_with_130(shell):
    shell.hidden.add("ICEHOUSE_PASSPHRASE")
    typist = Typist(shell, "sign", "--text", "x", "--device", "alice.device")
    typist.until(b"Passphrase of the device file: ")
    typist.types("\x03")

    assert typist.ends() == 130
    assert b"Traceback" not in typist.seen
    assert b"error" not in typist.seen


def test_ctrl_c_ends_an_exchange_quietly_with_130(shell):
    process = shell.start("exchange")
    process.stdin.write(b"x\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()

    assert process.returncode == 130
    assert b"Traceback" not in err
    assert b"error" not in err


@pytest.mark.parametrize("command", ["yes x | {0} exchange", "{0} users list --format json", "{0} users list"])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(shell, command):
    shell.do("users", "create", "--count", "3000")
    script = f"{{ {command.format(ICEHOUSE)} 2>said; echo $? >code; }} | head -1"
    subprocess.run(["sh", "-c", script], cwd=shell.directory, env=shell.variables, check=True, capture_output=True)
    said = (shell.directory / "said").read_text().splitlines()

    assert [line for line in said if "simulated HSM" not in line] == []
    assert (shell.directory / "code").read_text() == "141\n"


def test_an_answer_is_not_kept_back_until_more_is_asked(shell):
    process = shell.start("exchange")
    process.stdin.write(b"x\n")
    process.stdin.flush()

    assert b"malformed" in process.stdout.readline()
    process.communicate()


def test_a_progress_bar_is_for_terminals_only(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = pty.openpty()
    with open(terminal, "w") as there, TemporaryFile("w+") as elsewhere:  # noqa: PTH123
        for stream in (there, elsewhere):
            monkeypatch.setattr("sys.stderr", stream)
            assert list(progress.counted(range(3), "counting", 3)) == [0, 1, 2]
        elsewhere.seek(0)
        silent = elsewhere.read()
    shown = until_closed(controller)

    assert b"counting" in shown
    assert silent == ""


def test_core_dumps_are_off_while_a_command_runs(shell):
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    process = shell.start("exchange")
    process.stdin.write(b"x\n")
    process.stdin.flush()
    process.stdout.readline()
    limits = resource.prlimit(process.pid, resource.RLIMIT_CORE)
    process.communicate()

    assert limits == (0, 0)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demonstration_leaves_nothing_behind_when_it_is_stopped(empty, stop):
    empty.environment["TMPDIR"] = str(empty.directory)
    process = empty.start("demo")
    while b"Each user signs" not in process.stdout.readline():
        pass
    process.send_signal(stop)
    _, err = process.communicate()

    assert process.returncode == 128 + stop
    assert list(empty.directory.iterdir()) == []
    assert err == b""


def test_the_demonstration_tells_its_story_and_leaves_nothing_behind(empty):
    empty.environment["TMPDIR"] = str(empty.directory)
    story = empty.do("demo").out

    assert story.count("pyca/cryptography: valid") == 10
    assert story.count("the same public key") == 5
    assert story.count("refused: ") == 3
    assert story.count("there 0 times") == 2
    assert "operations since the vault was opened" in story
    assert list(empty.directory.iterdir()) == []


def test_the_passphrase_in_the_environment_is_not_shown_in_what_fails(shell):
    done = shell.run("sign", "--text", "x", "--device", "missing")

    assert PASSPHRASE not in done.err + done.out
