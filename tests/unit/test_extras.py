"""What is optional is loaded when it is asked for, and named when it is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPTIONAL = ["boto3", "google", "grpc", "hvac", "requests", "psycopg", "procrastinate", "matplotlib"]
# A provider that comes in an extra: the extra, a URI that would open it, and the packages of the extra.
PROVIDERS = [
    ("google", "gcpkms://projects/p/locations/l/keyRings/r?endpoint=127.0.0.1:1&insecure=1", ["google", "grpc"]),
    ("aws", "awskms://eu-central-1?endpoint=127.0.0.1:1&insecure=1", ["boto3", "botocore"]),
    ("openbao", "openbao://127.0.0.1:1?insecure=1", ["hvac", "requests"]),
]
LOADED = f"import sys; print([name for name in {OPTIONAL} if name in sys.modules])"


def fresh(program: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "program",
    [
        "import icehouse",
        "import icehouse; [getattr(icehouse, name) for name in icehouse.__all__]",
        "from icehouse.cli.main import run; run(['--help'])",
        "import icehouse; icehouse.create_hsm_frost('simulated').close()",
    ],
)
def test_nothing_optional_is_loaded_before_it_is_asked_for(program):
    assert fresh(f"{program}\n{LOADED}")[-1] == "[]"


@pytest.mark.parametrize(("extra", "uri", "packages"), PROVIDERS, ids=[extra for extra, *_ in PROVIDERS])
def test_a_missing_extra_is_named_with_how_to_install_it(extra, uri, packages):
    hide = f"import sys; sys.modules.update(dict.fromkeys({packages}))"
    program = f"""
{hide}
from icehouse.errors import MissingExtraError
from icehouse.hsm import open_hsm
try:
    open_hsm({uri!r})
except MissingExtraError as exc:
    print(exc.extra, exc.hint, sep="|")
"""

    assert fresh(program) == [f"{extra}|pip install 'icehouse[{extra}]'"]


@pytest.mark.parametrize(("extra", "uri", "packages"), PROVIDERS, ids=[extra for extra, *_ in PROVIDERS])
def test_doctor_names_a_missing_extra(extra, uri, packages):
    hide = f"import sys; sys.modules.update(dict.fromkeys({packages}))"
    lines = fresh(f"{hide}\nfrom icehouse.cli.main import run; print(run(['doctor', '--hsm', {uri!r}]))")

    assert lines[-1] == "2"
    assert any(line.split()[:3] == ["no", "hsm", "client"] and extra in line for line in lines)
