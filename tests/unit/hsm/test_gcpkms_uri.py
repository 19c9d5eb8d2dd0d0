"""`gcpkms://` URIs are parsed strictly."""

from __future__ import annotations

import pytest

from icehouse.errors import RequestError
from icehouse.hsm.gcpkms.crc32c import crc32c
from icehouse.hsm.gcpkms.uri import GcpKmsUri

RING = "gcpkms://projects/p-1/locations/europe-west3/keyRings/ring"


def test_a_uri_names_a_ring_and_has_defaults():
    uri = GcpKmsUri.parse(RING)

    assert uri == GcpKmsUri("p-1", "europe-west3", "ring", "cloudkms.googleapis.com:443", False, 5.0, 16)  # noqa: FBT003
    assert uri.path == "projects/p-1/locations/europe-west3/keyRings/ring"


def test_a_uri_may_say_how_to_reach_the_service():
    uri = GcpKmsUri.parse(f"{RING}?endpoint=[::1]:7000&insecure=1&deadline=0.5&concurrency=3")

    assert (uri.endpoint, uri.insecure, uri.deadline, uri.concurrency) == ("[::1]:7000", True, 0.5, 3)


@pytest.mark.parametrize(
    ("endpoint", "vouched"),
    [
        ("cloudkms.googleapis.com:443", True),
        ("cloudkms-mine.p.googleapis.com:443", True),
        ("127.0.0.1:443", False),
        ("googleapis.com.example:443", False),
        ("evilgoogleapis.com:443", False),
    ],
)
def test_only_googles_own_hosts_vouch_for_hardware(endpoint, vouched):
    assert GcpKmsUri.parse(f"{RING}?endpoint={endpoint}").vouched is vouched


@pytest.mark.parametrize(
    "uri",
    [
        "gcpkms:",
        "gcpkms://projects/p-1/locations/l",
        "gcpkms:projects/p-1/locations/l/keyRings/r",
        "gcpkms://projects//locations/l/keyRings/r",
        "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "gcpkms://projects/p/locations/l/keyRings/a%2Fb",
        "gcpkms://projects/p/locations/l/keyRings/r%0A",
    ],
)
def test_a_uri_of_another_form_is_a_wrong_request(uri):
    with pytest.raises(RequestError, match="must read gcpkms://projects/PROJECT"):
        GcpKmsUri.parse(uri)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("endpoint=localhost", "endpoint must read HOST:PORT"),
        ("endpoint=h:0", "endpoint must read HOST:PORT"),
        ("endpoint=h:65536", "endpoint must read HOST:PORT"),
        ("endpoint=dns:///h:1", "endpoint must read HOST:PORT"),
        ("insecure=yes", "insecure must be 0 or 1"),
        ("insecure=1", "loopback address only"),
        ("insecure=1&endpoint=localhost:1", "loopback address only"),
        ("insecure=1&endpoint=10.0.0.1:1", "loopback address only"),
        ("deadline=0", "deadline must be"),
        ("deadline=nan", "deadline must be"),
        ("deadline=601", "deadline must be"),
        ("deadline=soon", "deadline must be"),
        ("concurrency=0", "concurrency must be"),
        ("concurrency=1001", "concurrency must be"),
        ("concurrency=-1", "concurrency must be"),
        ("deadline=1&deadline=2", "must name deadline once"),
        ("retries=3", "not 'retries'"),
        ("pin-value=1234", "must not carry a PIN"),
    ],
)
def test_an_attribute_that_makes_no_sense_is_a_wrong_request(query, words):
    with pytest.raises(RequestError, match=words) as caught:
        GcpKmsUri.parse(f"{RING}?{query}")

    assert "1234" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums_are_those_of_the_rfc(content, checksum):
    assert crc32c(content) == checksum
