"""`gcpkms://` URIs: a key ring of Google Cloud KMS, and how to reach it."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass

from icehouse.errors import RequestError
from icehouse.hsm._uri import count, decoded, pairs, single

QUERY = frozenset({"endpoint", "insecure", "deadline", "concurrency"})
GOOGLE = "cloudkms.googleapis.com:443"
_FORM = "gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING"
# Loose where Google's rules are longer than a line: what does not exist there, the service says itself.
_PATH = re.compile(
    r"//projects/(?P<project>[a-z0-9.:-]{1,63})/locations/(?P<location>[a-z0-9-]{1,63})"
    r"/keyRings/(?P<ring>[A-Za-z0-9_-]{1,63})"
)
_HOST = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):(?P<port>[0-9]{1,5})", re.ASCII)
_MAX_PORT = 65_535
_MAX_DEADLINE = 600
_MAX_CONCURRENCY = 1_000


@dataclass(frozen=True, slots=True)
class GcpKmsUri:
    """What a `gcpkms://` URI says. `deadline` is in seconds for one operation, `concurrency` in calls at once."""

    project: str
    location: str
    ring: str
    endpoint: str = GOOGLE
    insecure: bool = False
    deadline: float = 5.0
    concurrency: int = 16

    @classmethod
    def parse(cls, uri: str) -> GcpKmsUri:
        """Parse `gcpkms://projects/P/locations/L/keyRings/R?endpoint=HOST:PORT&deadline=5`."""
        place, _, query = uri.removeprefix("gcpkms:").partition("?")
        path = _PATH.fullmatch(decoded(place, "the path"))
        if path is None:
            msg = f"a Google Cloud KMS URI must read {_FORM}"
            raise RequestError(msg)
        values = single(pairs(query, "&"), QUERY)
        endpoint = _endpoint(values.get("endpoint", GOOGLE))
        return cls(
            **path.groupdict(),
            endpoint=endpoint,
            insecure=_insecure(values.get("insecure", "0"), endpoint),
            deadline=_deadline(values.get("deadline", "5")),
            concurrency=_concurrency(values.get("concurrency", "16")),
        )

    @property
    def path(self) -> str:
        """The key ring's resource name."""
        return f"projects/{self.project}/locations/{self.location}/keyRings/{self.ring}"

    @property
    def vouched(self) -> bool:
        """Whether the answers come from Google itself: over TLS, from a host whose name is Google's."""
        host = self.endpoint.rpartition(":")[0].lower()
        return not self.insecure and host.endswith(".googleapis.com")


def _endpoint(text: str) -> str:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
        msg = f"endpoint must read HOST:PORT, not {text[:64]!r}"
        raise RequestError(msg)
    return text


def _insecure(text: str, endpoint: str) -> bool:
    if text not in {"0", "1"}:
        msg = f"insecure must be 0 or 1, not {text[:32]!r}"
        raise RequestError(msg)
    if text == "1" and not _loopback(endpoint.rpartition(":")[0].strip("[]")):
        msg = f"insecure=1 is for a loopback address only, and {endpoint} is none"
        raise RequestError(msg, hint="data keys would cross the network in the clear")
    return text == "1"


def _loopback(host: str) -> bool:
    # A name, even `localhost`, is whatever a resolver says.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _deadline(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MAX_DEADLINE:
        msg = f"deadline must be a number of seconds above 0 and at most {_MAX_DEADLINE}, not {text[:32]!r}"
        raise RequestError(msg)
    return seconds


def _concurrency(text: str) -> int:
    calls = count("concurrency", text)
    if not 0 < calls <= _MAX_CONCURRENCY:
        msg = f"concurrency must be between 1 and {_MAX_CONCURRENCY}, not {calls}"
        raise RequestError(msg)
    return calls
