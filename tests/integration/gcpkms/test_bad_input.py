"""What is told to whoever names the wrong ring, lacks a permission, credentials or the client itself."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from icehouse.errors import HsmRefusedError, RequestError
from icehouse.hsm import KeyKind, open_hsm
from integration.gcpkms.calls import AUDIT, CALLS, KEK, MASTER, PERMISSIONS
from servers.gcpkms import Fault


@pytest.mark.parametrize(
    ("ring", "words", "hint"),
    [
        ("projects/p-2/locations/europe-west3/keyRings/ring", "no permission: .*get_key_ring", "roles/cloudkms.viewer"),
        ("projects/p-1/locations/europe-west4/keyRings/ring", "there is no key ring", "--location europe-west4"),
        ("projects/p-1/locations/europe-west3/keyRings/rung", "there is no key ring", "keyrings create rung"),
    ],
)
def test_a_wrong_project_location_or_ring_is_refused_when_opened(server, ring, words, hint):
    with pytest.raises(HsmRefusedError, match=words) as caught:
        open_hsm(server.uri_of(ring))

    assert hint in caught.value.hint


@pytest.mark.parametrize("method", CALLS)
def test_a_missing_permission_is_named_with_the_role_that_has_it(server, hsm, wrapped, method):
    name, role = PERMISSIONS[method]
    server.weather.denied = {f"cloudkms.cryptoKeyVersions.{name}"}

    with pytest.raises(HsmRefusedError, match="no permission") as caught:
        CALLS[method](hsm, wrapped)
    assert name in caught.value.hint
    assert role in caught.value.hint
    server.weather.denied = set()
    CALLS[method](hsm, wrapped)


@pytest.mark.parametrize("permission", ["cryptoKeys.create", "cryptoKeyVersions.destroy"])
@pytest.mark.usefixtures("wrapped")
def test_without_permission_no_key_is_made_or_destroyed(server, hsm, permission):
    server.weather.denied = {f"cloudkms.{permission}"}
    call = hsm.create_key if permission.endswith("create") else lambda *_: hsm.destroy_key(KEK)

    with pytest.raises(HsmRefusedError, match="no permission") as caught:
        call("new", KeyKind.AES)
    assert "roles/cloudkms.admin" in caught.value.hint
    assert hsm.keys("") == [AUDIT, KEK, MASTER]


def test_a_key_ring_is_not_made_by_icehouse(server):
    with pytest.raises(RequestError, match="made with Google's tools"):
        open_hsm(server.uri, create=True)


FRESH = """
import sys
{before}
import icehouse, icehouse.hsm, icehouse.service, icehouse.hsm.configuration
loaded = {{name.partition(".")[0] for name, module in sys.modules.items() if module}}
assert not loaded & {{"grpc", "google"}}
from icehouse.errors import IcehouseError
try:
    icehouse.hsm.open_hsm("gcpkms://projects/p-1/locations/europe-west3/keyRings/ring?deadline=1")
except IcehouseError as exc:
    print(type(exc).__name__, exc, exc.hint, sep="|")
"""


def fresh(before: str, tmp_path, **named: str) -> str:
    """Open a Google key ring in an interpreter of its own, on a machine without credentials."""
    environment = {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", "PATH": "/usr/bin:/bin"} | named
    command = [sys.executable, "-c", FRESH.format(before=before)]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_missing_credentials_are_told_with_how_to_get_them(tmp_path):
    told = fresh("", tmp_path)

    assert told.startswith("HsmRefusedError|there are no usable credentials")
    assert "gcloud auth application-default login" in told


def test_a_missing_client_is_an_error_that_names_the_extra(tmp_path):
    told = fresh("sys.modules['google'] = sys.modules['grpc'] = None", tmp_path)

    assert told.strip() == "MissingExtraError|this needs the optional part 'google'|pip install 'icehouse[google]'"


def test_credentials_that_the_service_does_not_take_are_refused(server):
    server.weather.always = {"GetKeyRing": Fault.UNAUTHENTICATED}

    with pytest.raises(HsmRefusedError, match="no valid credentials") as caught:
        open_hsm(server.uri)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.hint


def test_a_metadata_server_that_never_answers_is_reported_within_the_deadline(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        named = {"GCE_METADATA_IP": f"127.0.0.1:{silent.getsockname()[1]}", "NO_GCE_CHECK": "false"}
        told = fresh("", tmp_path, **named)

    assert told.startswith("HsmUnavailableError|Google's metadata server gave no credentials (deadline 1 s)")
