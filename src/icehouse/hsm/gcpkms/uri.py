"""`gcpkms://` URIs: a key ring of Google Cloud KMS, and how to reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icehouse.errors import RequestError
from icehouse.hsm.uri import address, calls_at_once, decoded, insecure, pairs, seconds, single

QUERY = frozenset({"endpoint", "insecure", "deadline", "concurrency"})
GOOGLE = "cloudkms.googleapis.com:443"
_FORM = "gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING"
# Loose where Google's rules are longer than a line: what does not exist there, the service says itself.
_PATH = re.compile(
    r"//projects/(?P<project>[a-z0-9.:-]{1,63})/locations/(?P<location>[a-z0-9-]{1,63})"
    r"/keyRings/(?P<ring>[A-Za-z0-9_-]{1,63})"
)


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
        endpoint = address(values.get("endpoint", GOOGLE))
        return cls(
            **path.groupdict(),
            endpoint=endpoint,
            insecure=insecure(values.get("insecure", "0"), endpoint),
            deadline=seconds(values.get("deadline", "5")),
            concurrency=calls_at_once(values.get("concurrency", "16")),
        )

    @property
    def path(self) -> str:
        """The key ring's resource name."""
        return f"projects/{self.project}/locations/{self.location}/keyRings/{self.ring}"

    def same_ring(self, path: str) -> str | None:
        """The ring's name as the service tells it, where it is this one; a project's number may have become its ID."""
        named = _PATH.fullmatch(f"//{path}")
        if named is None or (named["location"], named["ring"]) != (self.location, self.ring):
            return None
        numbered = self.project.isdigit() or named["project"].isdigit()
        return path if numbered or named["project"] == self.project else None

    @property
    def vouched(self) -> bool:
        """Whether the answers come from Google itself: over TLS, from a host whose name is Google's."""
        host = self.endpoint.rpartition(":")[0].lower()
        return not self.insecure and host.endswith(".googleapis.com")
