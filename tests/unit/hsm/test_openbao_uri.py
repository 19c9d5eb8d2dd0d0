"""`openbao://` URIs are parsed strictly, and carry no token."""

from __future__ import annotations

from pathlib import Path

import pytest

from icehouse.errors import RequestError
from icehouse.hsm.openbao.uri import OpenBaoUri


@pytest.mark.parametrize("uri", ["openbao://bao.example", "openbao://bao.example/", "openbao://bao.example/transit/"])
def test_a_uri_names_a_host_and_has_defaults(uri):
    parsed = OpenBaoUri.parse(uri)

    assert parsed == OpenBaoUri("bao.example:8200", "transit", None, None, None, None, None, False, 5.0, 16)  # noqa: FBT003
    assert parsed.address == "https://bao.example:8200"


def test_a_uri_may_say_how_to_reach_the_server_and_who_asks():
    query = "namespace=a/b/&token-source=file:///t%26&insecure=1&deadline=0.5&concurrency=3&ca=/c"
    parsed = OpenBaoUri.parse(f"openbao://[::1]:7000/one/two?{query}")

    assert (parsed.mount, parsed.namespace, parsed.token_file) == ("one/two", "a/b", Path("/t&"))
    assert (parsed.address, parsed.deadline, parsed.concurrency) == ("http://[::1]:7000", 0.5, 3)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("openbao:", "must read openbao://HOST"),
        ("openbao:host/transit", "must read openbao://HOST"),
        ("openbao://hvs.secret@host/transit", "must read openbao://HOST"),
        ("openbao://host:0/transit", "HOST:PORT"),
        ("openbao://host/a//b", "the mount of an OpenBao URI"),
        ("openbao://host/../b", "the mount of an OpenBao URI"),
        ("openbao://host/a%3Fb", "the mount of an OpenBao URI"),
        ("openbao://host/m?namespace=", "namespace of an OpenBao URI"),
        ("openbao://host/m?token=hvs.secret", "not 'token'"),
        ("openbao://host/m?token-source=hvs.secret", "token-source must name a file"),
        ("openbao://host/m?token-source=file:", "token-source must name a file"),
        ("openbao://host/m?token-source=file://other/t", "token-source must name a file"),
        ("openbao://host/m?role-id=r", "needs both role-id and secret-id-source"),
        ("openbao://host/m?secret-id-source=file:s", "needs both role-id and secret-id-source"),
        ("openbao://host/m?role-id=r&secret-id-source=file:s&token-source=file:t", "not both"),
        ("openbao://host/m?role-id=%0A&secret-id-source=file:s", "visible characters"),
        ("openbao://host/m?insecure=1", "loopback address only"),
        ("openbao://localhost/m?insecure=1", "loopback address only"),
        ("openbao://host/m?deadline=0", "deadline must be"),
        ("openbao://host/m?concurrency=0", "concurrency must be"),
    ],
)
def test_a_uri_that_makes_no_sense_is_a_wrong_request(uri, words):
    with pytest.raises(RequestError, match=words) as caught:
        OpenBaoUri.parse(uri)

    assert "hvs.secret" not in str(caught.value)
