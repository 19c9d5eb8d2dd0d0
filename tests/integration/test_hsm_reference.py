"""The page on HSMs says what the code does: its SoftHSM token is made as written, its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icehouse.hsm.awskms import uri as awskms_uri
from icehouse.hsm.gcpkms import uri as gcpkms_uri
from icehouse.hsm.openbao import uri as openbao_uri
from icehouse.hsm.pkcs11 import pkcs11
from icehouse.hsm.protocol import Operation
from icehouse.hsm.simulated import simulated
from icehouse.hsm.simulated.profile import Fault
from servers.tokens import library

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "hsm.md").read_text(encoding="utf-8")
OPEN = """
import sys
from icehouse.hsm import KeyKind, open_hsm
hsm = open_hsm(sys.argv[1])
hsm.create_key("icehouse-0a1b-kek-1", KeyKind.AES)
print(hsm.info.model)
"""


def opened_as_written(section: str, uri: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Make the token of a section by its recipe, and a key on it."""
    (recipe,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    # The packages are there already; without the right to install any, a test could only fail.
    lines = [line for line in recipe.splitlines() if "apt-get" not in line]
    assert len(lines) == len(recipe.splitlines()) - 1
    command = [*lines, 'exec "$0" -c "$1" "$2"']
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(
        ["bash", "-ec", "\n".join(command), sys.executable, OPEN, uri.replace("/home/you", str(home))],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def section(heading: str) -> str:
    """The part of the page under a heading."""
    (found,) = re.findall(rf"^### {heading}\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    return found


def test_the_softhsm_token_of_the_page_is_made_and_opened_as_written(tmp_path):
    (uri,) = re.findall(r"^`(pkcs11:.*)`\.$", PAGE, re.MULTILINE)
    told = opened_as_written(section("A SoftHSM token"), uri, tmp_path)

    assert told.stdout.splitlines()[-1:] == ["SoftHSM project SoftHSM v2"], told.stderr
    assert (tmp_path / "softhsm" / "pin").stat().st_mode & 0o077 == 0


def test_the_nss_database_of_the_page_is_made_and_opened_as_written(tmp_path):
    (uri,) = re.findall(r"^pkcs11:token=NSS.*$", section("NSS"), re.MULTILINE)
    # Debian's folder for libraries is named by the machine's architecture.
    (module,) = re.findall(r"module-path=([^&]*)", uri)
    told = opened_as_written(section("NSS"), uri.replace(module, str(library(Path(module).name))), tmp_path)

    assert told.stdout.splitlines()[-1:] == ["Mozilla Foundation NSS 3"], told.stderr


@pytest.mark.parametrize(
    "word",
    [
        *sorted(awskms_uri.QUERY | gcpkms_uri.QUERY | openbao_uri.QUERY),
        *sorted(pkcs11._PATH | pkcs11._QUERY | simulated._QUERY),
        "fault",
        *Fault,
        *Operation,
    ],
)
def test_every_attribute_fault_and_operation_is_on_the_page(word):
    assert f"`{word}" in PAGE
