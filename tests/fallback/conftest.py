"""A vault whose HSM can be taken away and brought back, and a software module to fall back on."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from icehouse import Device, create_hsm_frost
from icehouse.errors import FallbackWarning
from icehouse.hsm import open_hsm
from icehouse.service import FrostService
from icehouse.vault import settings
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import Settings
from softhsm import MODULE as LIBRARY
from upkeep.killing import Killer

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def warned(opener):
    """A vault that was opened with a warning, and the warnings."""
    with pytest.warns(FallbackWarning) as told:
        frost = opener()
    with frost:
        yield frost, told


class Place:
    """A vault with a simulated HSM in a file, which is away while that has another name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.vault = directory / "vault"
        self.token = self.vault / "hsm.token"
        self.fallback = directory / "fallback.token"
        self.pin = directory / "fallback.pin"
        self.pin.write_text("12345\n")

    @property
    def uri(self) -> str:
        return f"simulated:{self.fallback}?pin-source=file:{self.pin}"

    def found(self, custody: str = "hybrid") -> None:
        make_vault(self.vault, Settings(STORE, MODULE, fallback_uri=self.uri, fallback_seconds=0), custody=custody)

    def found_away(self, custody: str = "hybrid") -> None:
        """The same while the HSM is away: it has no key of the vault's."""
        self.vault.mkdir()
        pin = self.vault / "hsm.pin"
        pin.write_text("54321\n")
        open_hsm(f"simulated:{self.token}?pin-source=file:{pin}", create=True).close()
        wanted = Settings(STORE, MODULE, fallback_uri=self.uri, fallback_seconds=0)
        (self.vault / "vault.toml").write_text(settings.dump(wanted))
        self.leave()
        with warned(lambda: FrostService(create_vault(settings.load(self.vault), custody))):
            self.come_back()

    def leave(self) -> None:
        self.token.rename(self.directory / "away")

    def come_back(self) -> None:
        (self.directory / "away").rename(self.token)

    def open(self) -> FrostService:
        """Open the vault, warned or not."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FallbackWarning)
            return FrostService.open(self.vault)

    @contextmanager
    def without_hsm(self):
        """The vault as it is served while its HSM is away."""
        self.leave()
        with warned(lambda: FrostService.open(self.vault)) as (frost, _):
            yield frost
        self.come_back()


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The simulated HSM says of itself that it is none."""
    caplog.set_level(logging.ERROR, logger="icehouse.hsm")


@pytest.fixture(scope="session")
def killer(tmp_path_factory):
    """Where processes come from that may be killed."""
    own = Killer(tmp_path_factory.mktemp("killer") / "stderr")
    yield own
    own.close()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def token(softhsm, request):
    """A SoftHSM token of the test's own; it is away while its directory has another name."""
    made = softhsm.new_token(f"f{abs(hash(request.node.nodeid)) % 10**8}")
    yield made
    away = made.directory.parent.parent / f"away-{made.label}"
    if away.exists():
        away.rename(made.directory)


@pytest.fixture
def frost_of(token, place):
    """`create_hsm_frost` over a SoftHSM token, as an application calls it."""

    def make(custody: str = "hybrid", store: str | None = None, **changes: object) -> FrostService:
        config = {
            "module_path": LIBRARY,
            "token_label": token.label,
            "pin_source": token.pin_file,
            "fallback_path": place.fallback,
            "fallback_pin_source": place.pin,
        }
        kept = {name: value for name, value in (config | changes).items() if value is not None}
        url = store or f"sqlite:///{place.directory}/frost.db"
        return create_hsm_frost("pkcs11", kept, custody=custody, store=url, fallback_to_software=True)

    return make


def enrolled(frost: FrostService, user: str) -> Device:
    """A device in memory that claimed a user's key."""
    device = Device.create(user)
    device.enrol(frost, frost.enrolment_code(user))
    return device
