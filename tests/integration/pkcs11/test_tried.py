"""The table of modules tried says what happens: each row is run, on the module itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from integration.pkcs11.tried import installed, row
from servers.tokens import P11KitServer, kryoptic, nss, p11_kit_proxy

TESTS = Path(__file__).parents[2]
_NUMBERS = count(1)


@pytest.fixture
def token(softhsm):
    made = softhsm.new_token(f"tried-{next(_NUMBERS)}")
    yield made
    shutil.rmtree(made.directory, ignore_errors=True)


def as_the_page_says(software: str, version: str, uri: str) -> None:
    """Try it in a process of its own: p11-kit and SoftHSM in one would share what they opened."""
    command = [sys.executable, "-m", "integration.pkcs11.tried", uri]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr

    assert {"version": version} | json.loads(told.stdout) == row(software)


def test_softhsm(token):
    as_the_page_says("SoftHSM 2", installed("libsofthsm2"), token.uri)


def test_kryoptic(tmp_path):
    as_the_page_says("Kryoptic", "1.5.4", kryoptic(tmp_path).uri)


def test_nss_without_its_profile():
    as_the_page_says("NSS softokn", installed("libnss3"), nss(None).uri)


def test_nss_with_its_profile():
    as_the_page_says("NSS softokn, `profile=nss`", installed("libnss3"), nss().uri)


def test_p11_kits_proxy_in_the_process(token):
    uri = p11_kit_proxy(token.label, token.pin_file).uri
    as_the_page_says("p11-kit's proxy before SoftHSM", installed("libp11-kit0"), uri)


def test_p11_kits_server_and_client(token, tmp_path):
    server = P11KitServer(tmp_path)
    try:
        uri = server.tried(token.label, token.pin_file).uri
        as_the_page_says("p11-kit's server before SoftHSM", installed("p11-kit"), uri)
    finally:
        server.close()
