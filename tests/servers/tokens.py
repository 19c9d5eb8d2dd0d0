"""Tokens of other software than SoftHSM: Kryoptic, NSS, and p11-kit in front of SoftHSM."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from urllib.parse import quote

from softhsm import MODULE, PIN, run

ROOT = Path(__file__).parents[2]
_SO_PIN = "12345678"
_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Tried:
    """A token of some software, and how icehouse opens it."""

    module: Path
    label: str
    pin: str
    """The `pin-source`."""
    query: str = ""
    """What else the URI says, each attribute with its separator before it."""

    @property
    def uri(self) -> str:
        return f"pkcs11:token={quote(self.label)}?module-path={self.module}&pin-source={self.pin}{self.query}"


def library(name: str) -> Path:
    """A library that Debian installed, whatever the machine's architecture."""
    there = sorted(Path("/usr/lib").glob(f"*/{name}"))
    assert there, f"{name} must be installed: tests/install-packages does it"
    return there[0]


def written(pin: str, directory: Path) -> str:
    """The `pin-source` of a new file with this PIN."""
    file = directory / "pin"
    file.write_text(f"{pin}\n")
    file.chmod(0o600)
    return f"file:{file}"


@cache
def kryoptic_module() -> Path:
    """Kryoptic's library; it is built where nobody has built it yet."""
    run(str(ROOT / "tests" / "build-kryoptic"))
    return ROOT / "target" / "kryoptic" / "release" / "libkryoptic_module.so"


@cache
def _kryoptic_template() -> bytes:
    """An empty token's database. Making one takes two commands, so one is made for all tests."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        conf = _kryoptic_conf(directory)
        tool = ["pkcs11-tool", "--module", str(kryoptic_module())]
        so = ["--login", "--login-type", "so", "--so-pin", _SO_PIN]
        for command in (
            ["--init-token", "--slot", "0", "--label", "kryoptic", "--so-pin", _SO_PIN],
            ["--token-label", "kryoptic", *so, "--init-pin", "--new-pin", PIN],
        ):
            environment = os.environ | {"KRYOPTIC_CONF": str(conf)}
            subprocess.run([*tool, *command], check=True, capture_output=True, env=environment)
        return (directory / "token.sql").read_bytes()


def _kryoptic_conf(directory: Path) -> Path:
    conf = directory / "kryoptic.conf"
    conf.write_text(f'[[slots]]\nslot = 0\ndbtype = "sqlite"\ndbargs = "{directory}/token.sql"\n')
    return conf


def kryoptic(directory: Path) -> Tried:
    """An empty Kryoptic token. A process starts a library once, so each token has a copy of it."""
    module = directory / f"libkryoptic-{next(_NUMBERS)}.so"
    shutil.copy(kryoptic_module(), module)
    (directory / "token.sql").write_bytes(_kryoptic_template())
    conf = _kryoptic_conf(directory)
    return Tried(module, "kryoptic", written(PIN, directory), f"&module-init-args={quote(f'kryoptic_conf={conf}')}")


@cache
def _nss_database() -> Path:
    """A database without a password, for all tests of this process: NSS starts on one only."""
    directory = Path(tempfile.mkdtemp(prefix="nss-"))
    run("certutil", "-N", "-d", f"sql:{directory}", "--empty-password")
    return directory


def nss(profile: str | None = "nss") -> Tried:
    """NSS's token in a database without a password."""
    start = f"configdir='sql:{_nss_database()}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    query = f"&module-init-args={quote(start)}" + (f"&profile={profile}" if profile else "")
    return Tried(library("libsoftokn3.so"), "NSS Certificate DB", "empty:", query)


def p11_kit_proxy(label: str, pin_file: Path) -> Tried:
    """p11-kit's proxy in this process, in front of the modules that are installed, SoftHSM among them."""
    return Tried(library("p11-kit-proxy.so"), label, f"file:{pin_file}")


class P11KitServer:
    """p11-kit's server in front of SoftHSM; its client is a library that finds it by the environment."""

    def __init__(self, directory: Path) -> None:
        socket = directory / "p11-kit.socket"
        command = ["p11-kit", "server", "--foreground", "--provider", str(MODULE), "--name", str(socket), "pkcs11:"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert b"P11_KIT_SERVER_ADDRESS" in self._process.stdout.readline()
        os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"

    def tried(self, label: str, pin_file: Path) -> Tried:
        """A token of SoftHSM, behind it."""
        return Tried(library("pkcs11/p11-kit-client.so"), label, f"file:{pin_file}")

    def close(self) -> None:
        self._process.terminate()
        # Waits, and closes what it wrote to.
        self._process.communicate(timeout=30)
