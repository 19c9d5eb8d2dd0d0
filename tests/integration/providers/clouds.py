"""The key services, as a test of lost answers needs them: their calls, their lag, and what they really hold."""

from __future__ import annotations

from contextlib import closing

from icehouse.hsm import HsmKey, KeyKind, TellsLeftovers, open_hsm
from servers.awskms import AwsKmsServer
from servers.awskms import Fault as AwsFault
from servers.gcpkms import Fault as GoogleFault
from servers.gcpkms import KmsServer
from servers.gcpkms_keys import State
from servers.openbao import bao, policy_of
from servers.openbao_front import Fault as BaoFault
from servers.openbao_front import Front

LABEL = "icehouse-key"
KEY = HsmKey(LABEL, KeyKind.AES)
DEADLINE = 1.5


class Aws:
    name = "awskms"
    lost = AwsFault.LOST_ANSWER
    making = ("CreateKey", "CreateAlias")
    making_anew = ("CreateKey", "UpdateAlias")
    destroying = ("ScheduleKeyDeletion",)
    lags = (0, 2, 1000)

    def __init__(self, _directory) -> None:
        self.server = AwsKmsServer()
        self.weather = self.server.weather

    def open(self, deadline: float):
        return open_hsm(self.server.uri_of(deadline=deadline))

    def lag(self, calls: int) -> None:
        """What is new from now on is known to nobody for so many calls."""
        rules = self.server.rules
        rules.lag = rules.key_lag = rules.list_lag = calls

    def settle(self) -> None:
        """Good weather, and everything is known everywhere."""
        self.weather.schedule, self.weather.always = {}, {}
        self.lag(0)
        self.server.rules._young.clear()
        self.server.rules._new.clear()

    def living(self) -> set[str]:
        """What the service holds and somebody pays for."""
        return {key.arn for key in self.server.living()}

    def behind(self, _hsm, label: str) -> set[str]:
        """What is behind a label."""
        key = self.server.key(label)
        return {key.arn} if key else set()

    def close(self) -> None:
        self.server.close()


class Google:
    name = "gcpkms"
    lost = GoogleFault.LOST_ANSWER
    making = ("CreateCryptoKey",)
    making_anew = ("CreateCryptoKeyVersion", "UpdateCryptoKeyPrimaryVersion")
    destroying = ("UpdateCryptoKeyVersion", "DestroyCryptoKeyVersion")
    lags = (0, 2, 1000)

    def __init__(self, _directory) -> None:
        self.server = KmsServer()
        self.weather = self.server.weather
        self.server.keys.disable_before_destroy = True

    def open(self, deadline: float):
        return open_hsm(self.server.uri_of(self.server.keys.ring, deadline=deadline))

    def lag(self, calls: int) -> None:
        self.server.keys.primary_lag = calls

    def settle(self) -> None:
        self.weather.schedule, self.weather.always = {}, {}
        self.lag(0)
        self.server.keys._stale.clear()

    def _alive(self, label: str | None = None) -> set[str]:
        keys = self.server.keys._keys
        ours = [key for name, key in keys.items() if label in {None, name.rpartition("/")[2]}]
        versions = [one for key in ours for one in key.versions]
        return {one.told.name for one in versions if one.told.state not in {State.DESTROY_SCHEDULED, State.DESTROYED}}

    def living(self) -> set[str]:
        return self._alive()

    def behind(self, hsm, label: str) -> set[str]:
        return self._alive(label) if hsm.find(label) else set()

    def close(self) -> None:
        self.server.stop()


class OpenBao:
    name = "openbao"
    lost = BaoFault.LOST_ANSWER
    making = ("create",)
    making_anew = ("create",)
    destroying = ("config", "delete")
    lags = (0,)

    def __init__(self, directory) -> None:
        self.front = Front(bao().port)
        self.weather = self.front.weather
        self._mount = bao().new_mount()
        self._token = directory / "token"
        self._token.write_text(bao().new_token(policy_of(self._mount)))

    def open(self, deadline: float):
        query = f"insecure=1&deadline={deadline}&token-source=file:{self._token}"
        return open_hsm(f"openbao://127.0.0.1:{self.front.port}/{self._mount}?{query}")

    def lag(self, calls: int) -> None:
        assert calls == 0, "what OpenBao did is known at once"

    def settle(self) -> None:
        self.weather.schedule, self.weather.always = {}, {}

    def living(self) -> set[str]:
        with closing(self.open(10)) as hsm:
            return {name for key in hsm.keys("") for name in self.behind(hsm, key.label)}

    def behind(self, hsm, label: str) -> set[str]:
        if not hsm.find(label):
            return set()
        told = bao().api("GET", f"{self._mount}/keys/{label}")["data"]
        # A label may come to name another key, which has another mark.
        return {f"{label} {told['auto_rotate_period']}"}

    def close(self) -> None:
        self.front.stop()


CLOUDS = (Aws, Google, OpenBao)


def told_by_doctor(cloud) -> set[str]:
    """What a fresh process is told of: keys by their labels, and those that no label names."""
    with closing(cloud.open(10)) as hsm:
        told = {name for key in hsm.keys("") for name in cloud.behind(hsm, key.label)}
        if isinstance(hsm, TellsLeftovers):
            told |= {left.name for left in hsm.leftovers()}
    return told
