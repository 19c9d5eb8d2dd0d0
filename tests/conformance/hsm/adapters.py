"""How the conformance tests handle each provider: one small adapter each.

A new provider joins with a class like these and a line in `ADAPTERS`. What its module cannot be made to do, it leaves
out of `can`; the tests of that are then not made for it.
"""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import replace
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from conformance.hsm.descriptors import connections_to, open_files
from icehouse.hsm import open_hsm
from icehouse.hsm.simulated.profile import Fault
from servers.awskms import REGION, AwsKmsServer
from servers.cloudhsm_trial import ControlPlane
from servers.function_list import FunctionList
from servers.gcpkms import KmsServer
from servers.openbao import bao, policy_of
from servers.openbao_front import Front
from servers.tokens import kryoptic, nss
from servers.weather import crypto_user, module
from softhsm import MODULE, PIN, close_all_sessions, log_out_everywhere, open_sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.hsm import Hsm
    from softhsm import SoftHsm

_NUMBERS = count(1)


class Can(StrEnum):
    """What a module can be made to do."""

    REOPEN = "be opened again, with the same keys"
    PIN = "be opened with a PIN in a file"
    GO_AWAY = "be taken away and brought back"
    FILL_UP = "be made with room for few keys"
    THROTTLE = "be made to serve few operations a second"
    FOREIGN_KEYS = "be given keys behind icehouse's back"
    TELL_ATTRIBUTES = "tell the attributes of a key"
    STORM = "be made to fail, stall and throttle"


class Adapter(ABC):
    """One module that was made for one test."""

    name: ClassVar[str]
    can: ClassVar[frozenset[Can]]
    wrapped_bytes: ClassVar[int] = 1 + 12 + 32 + 16
    """How long a wrapped data key is: a service that hides its nonces adds what it likes."""

    def __init__(self, directory: Path, softhsm: Callable[[], SoftHsm]) -> None:
        self.directory = directory
        self.uri = self.make(softhsm)
        self._opened: list[Hsm] = []

    @abstractmethod
    def make(self, softhsm: Callable[[], SoftHsm]) -> str:
        """Make the module; the URI that opens it."""

    def open(self, uri: str | None = None) -> Hsm:
        """Open the module. It is closed when the test ends."""
        hsm = open_hsm(uri or self.uri)
        self._opened.append(hsm)
        return hsm

    @property
    def provider(self) -> tuple[str, dict[str, object]]:
        """The provider and the configuration by which `create_hsm_frost` opens the same module."""
        raise AssertionError(self.name)

    @abstractmethod
    def lose_session(self, hsm: Hsm) -> None:
        """Make the module forget every session and login."""

    def lose_session_in_use(self, hsm: Hsm) -> None:
        """The same, while other threads are in the middle of something."""
        self.lose_session(hsm)

    def storm(self, failing: float, latency: float, per_second: float) -> None:
        """From now on this part of all calls fails in passing, each takes these seconds, more a second are refused.

        A simulated module is made so for whoever opens it from now on.
        """
        raise AssertionError(self.name, failing, latency, per_second)

    def struck(self) -> int:
        """How many calls the storm made fail, whoever repeated them."""
        raise AssertionError(self.name)

    def held(self) -> int:
        """How many sessions or connections this process holds open to the module."""
        raise AssertionError(self.name)

    def clean(self) -> None:
        """Close whatever was opened."""
        for hsm in self._opened:
            hsm.close()


class SimulatedInMemory(Adapter):
    name = "simulated-in-memory"
    can = frozenset({Can.FILL_UP, Can.THROTTLE, Can.STORM})

    def make(self, _softhsm):
        self._weather: dict[str, object] = {}
        return "simulated:"

    @property
    def provider(self):
        return "simulated", self._weather

    def lose_session(self, hsm):
        lose_simulated_session(hsm)

    def storm(self, failing, latency, per_second):
        self._weather = simulated_storm(failing, latency, per_second)

    def struck(self):
        return 0  # it repeats nothing itself: each is its caller's

    def held(self):
        return 0  # it is in this process

    def full_after(self, keys: int) -> Hsm:
        return self.open(f"simulated:?capacity={keys}")

    def slow(self) -> Hsm:
        """One operation now, the next one in a quarter of an hour."""
        return self.open("simulated:?rate-limit=0.001")


class SimulatedInFile(Adapter):
    name = "simulated-in-file"
    can = frozenset({Can.REOPEN, Can.PIN, Can.GO_AWAY, Can.FILL_UP, Can.THROTTLE, Can.STORM})

    def make(self, _softhsm):
        self._weather: dict[str, object] = {}
        self.pin_file = self.directory / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        self._file = self.directory / "token"
        uri = f"simulated:{self._file}?pin-source=file:{self.pin_file}"
        open_hsm(uri, create=True).close()
        return uri

    @property
    def provider(self):
        return "simulated", {"path": self._file, "pin_source": self.pin_file, **self._weather}

    def lose_session(self, hsm):
        lose_simulated_session(hsm)

    def storm(self, failing, latency, per_second):
        self._weather = simulated_storm(failing, latency, per_second)

    def struck(self):
        return 0  # it repeats nothing itself: each is its caller's

    def held(self):
        return open_files(self._file)

    def take_away(self) -> None:
        self._file.rename(self._file.with_name("away"))

    def bring_back(self) -> None:
        self._file.with_name("away").rename(self._file)

    def full_after(self, keys: int) -> Hsm:
        return self.open(f"{self.uri}&capacity={keys}")

    def slow(self) -> Hsm:
        return self.open(f"{self.uri}&rate-limit=0.001")


class Pkcs11OnSoftHsm(Adapter):
    name = "pkcs11-on-softhsm"
    can = frozenset({Can.REOPEN, Can.PIN, Can.GO_AWAY, Can.FOREIGN_KEYS, Can.TELL_ATTRIBUTES})

    def make(self, softhsm):
        self._softhsm = softhsm()
        # SoftHSM's directory is the process's, so every test takes a label of its own.
        self.token = self._softhsm.new_token(f"conformance-{next(_NUMBERS)}")
        self.pin_file = self.token.pin_file
        return self.token.uri

    @property
    def provider(self):
        token = self.token
        return "pkcs11", {"module_path": MODULE, "token_label": token.label, "pin_source": token.pin_file}

    def lose_session(self, _hsm):
        close_all_sessions()

    def lose_session_in_use(self, _hsm):
        log_out_everywhere()

    def held(self):
        return open_sessions()

    def take_away(self) -> None:
        self.token.directory.rename(self._away)

    def bring_back(self) -> None:
        self._away.rename(self.token.directory)

    @property
    def _away(self) -> Path:
        return self._softhsm.directory / f"{self.token.label}.away"

    def foreign_key(self, label: str, *options: str, key_type: str = "AES:32") -> None:
        """Make a key with the vendor's tool."""
        self._softhsm.new_key(self.token, label, *options, key_type=key_type)

    def tool(self, *options: str) -> None:
        self._softhsm.tool(self.token, *options)

    def clean(self) -> None:
        super().clean()
        # Tokens that stay would slow down every later start of the module.
        shutil.rmtree(self.token.directory, ignore_errors=True)


class Pkcs11InWeather(Pkcs11OnSoftHsm):
    """SoftHSM behind a module that can be made to fail. Not in `ADAPTERS`: nothing else about it is new."""

    name = "pkcs11-in-weather"
    can = Pkcs11OnSoftHsm.can | {Can.STORM}
    built: ClassVar[str] = "weather"

    def make(self, softhsm):
        uri = super().make(softhsm)
        self.module = module(self._softhsm.directory, self.built)
        self.module.weather.clear()
        return uri.replace(str(MODULE), str(self.module.path))

    @property
    def provider(self):
        name, config = super().provider
        return name, config | {"module_path": self.module.path}

    def lose_session(self, _hsm):
        self.module.close_all_sessions()

    def lose_session_in_use(self, _hsm):
        self.module.weather.drop_sessions()

    def held(self):
        return self.module.open_sessions

    def storm(self, failing: float, latency: float, per_second: float) -> None:
        weather = self.module.weather
        weather.failing, weather.latency, weather.per_second, weather.burst = failing, latency, per_second, 50

    def struck(self):
        return self.module.weather.failed

    def clean(self) -> None:
        self.module.weather.clear()
        super().clean()


class CloudHsmOnShim(Pkcs11InWeather):
    """A module with the habits of AWS CloudHSM, in front of SoftHSM. A key is not known everywhere at once."""

    name = "cloudhsm-on-shim"
    built = "cloudhsm"

    def make(self, softhsm):
        uri = super().make(softhsm)
        self.module.weather.hidden, self.module.weather.stale = 1, 1
        self._control: ControlPlane | None = None
        self.pin_file = crypto_user(self.token, self.directory).pin_file
        return f"{uri.replace(str(self.token.pin_file), str(self.pin_file))}&profile=cloudhsm&single-hsm=1"

    @property
    def provider(self):
        self._control = self._control or ControlPlane()
        _, config = super().provider
        return "aws", config | {"pin_source": self.pin_file} | self._control.config

    def clean(self) -> None:
        super().clean()
        if self._control:
            self._control.stop()


class GoogleKmsOnLoopback(Adapter):
    name = "gcpkms-on-loopback"
    can = frozenset({Can.REOPEN, Can.GO_AWAY, Can.THROTTLE, Can.STORM})
    wrapped_bytes = 1 + 7 + 12 + 32 + 16

    def make(self, _softhsm):
        self._away = False
        self.server = KmsServer()
        # Long enough to find what was lost; a test that takes the service away waits no longer.
        return self.server.uri_of(self.server.keys.ring, deadline=1.5)

    def lose_session(self, _hsm):
        if not self._away:
            self.server.restart()

    def take_away(self) -> None:
        self._away = True
        self.server.stop()

    def bring_back(self) -> None:
        self._away = False
        self.server.start()

    def slow(self) -> Hsm:
        hsm = self.open()
        self.server.weather.per_second = 0.001
        return hsm

    @property
    def provider(self):
        _, project, _, location, _, ring = self.server.keys.ring.split("/")
        named = {"project_id": project, "location": location, "key_ring": ring}
        return "google", named | {"endpoint": f"127.0.0.1:{self.server.port}", "insecure": 1}

    def storm(self, failing, latency, per_second):
        weather = self.server.weather
        weather.failing, weather.latency, weather.per_second, weather.burst = failing, latency, per_second, 50

    def struck(self):
        return self.server.failed

    def held(self):
        return connections_to(self.server.port)

    def clean(self) -> None:
        super().clean()
        self.server.stop()


class AwsKmsOnLoopback(GoogleKmsOnLoopback):
    name = "awskms-on-loopback"
    wrapped_bytes = 1 + 36 + 12 + 16 + 32

    def make(self, _softhsm):
        self._away = False
        self.server = AwsKmsServer()
        return self.server.uri_of(deadline=1.5)

    @property
    def provider(self):
        return "aws-kms", {"region": REGION, "endpoint": f"127.0.0.1:{self.server.port}", "insecure": 1}

    def clean(self) -> None:
        super().clean()
        self.server.close()


class OpenBaoOnLoopback(Adapter):
    name = "openbao-on-loopback"
    can = frozenset({Can.REOPEN, Can.GO_AWAY, Can.THROTTLE, Can.STORM})

    def make(self, _softhsm):
        self._away = False
        self.front = Front(bao().port)
        self._mount = bao().new_mount()
        self._token = self.directory / "token"
        self._token.write_text(bao().new_token(policy_of(self._mount)))
        # Long enough to find what was lost; a test that takes the service away waits no longer.
        query = f"insecure=1&deadline=1.5&token-source=file:{self._token}"
        return f"openbao://127.0.0.1:{self.front.port}/{self._mount}?{query}"

    @property
    def provider(self):
        named = {"address": f"127.0.0.1:{self.front.port}", "mount": self._mount, "token_source": self._token}
        return "openbao", named | {"insecure": 1}

    def held(self):
        return connections_to(self.front.port)

    def lose_session(self, _hsm):
        if not self._away:
            self.front.restart()

    def take_away(self) -> None:
        self._away = True
        self.front.stop()

    def bring_back(self) -> None:
        self._away = False
        self.front.start()

    def slow(self) -> Hsm:
        hsm = self.open()
        self.front.weather.per_second = 0.001
        return hsm

    def storm(self, failing, latency, per_second):
        weather = self.front.weather
        weather.failing, weather.latency, weather.per_second, weather.burst = failing, latency, per_second, 50

    def struck(self):
        return self.front.failed

    def clean(self) -> None:
        super().clean()
        self.front.stop()


class Pkcs11OnKryoptic(Adapter):
    name = "pkcs11-on-kryoptic"
    can = frozenset({Can.REOPEN, Can.PIN, Can.TELL_ATTRIBUTES})

    def make(self, _softhsm):
        self.tried = kryoptic(self.directory)
        self.pin_file = self.directory / "pin"
        return self.tried.uri

    def lose_session(self, _hsm):
        FunctionList(self.tried.module).close_all_sessions()


class Pkcs11OnNss(Adapter):
    """NSS starts on one database in each process, so its keys are destroyed after each test."""

    name = "pkcs11-on-nss"
    can = frozenset({Can.REOPEN})

    def make(self, _softhsm):
        self.tried = nss()
        return self.tried.uri

    def lose_session(self, _hsm):
        FunctionList(self.tried.module).close_all_sessions()

    def clean(self) -> None:
        with closing(open_hsm(self.uri)) as hsm:
            for key in hsm.keys(""):
                hsm.destroy_key(key)
        super().clean()


MODULES = (Pkcs11OnKryoptic, Pkcs11OnNss)
"""PKCS#11 modules of other vendors: they join the conformance tests, and nothing that is about providers."""

ADAPTERS = (
    SimulatedInMemory,
    SimulatedInFile,
    Pkcs11OnSoftHsm,
    CloudHsmOnShim,
    GoogleKmsOnLoopback,
    AwsKmsOnLoopback,
    OpenBaoOnLoopback,
)


def lose_simulated_session(hsm: Hsm) -> None:
    """The next operations each find their session lost, however many threads ask."""
    following = range(hsm.operations.total + 1, hsm.operations.total + 9)
    hsm._profile = replace(hsm._profile, faults=dict.fromkeys(following, Fault.SESSION_LOSS))


def simulated_storm(failing: float, latency: float, per_second: float) -> dict[str, object]:
    """What `create_hsm_frost` is told for a simulated HSM on a bad day.

    Each opening counts its operations from 1. The first ones are spared: they would fail whenever they are tried again.
    """
    dice = random.Random(15)  # noqa: S311  the same faults in each run
    faults = {number: Fault.UNAVAILABLE for number in range(6, 5000) if number == 6 or dice.random() < failing}
    return {"latency": latency, "rate_limit": per_second, "faults": faults}
