"""What is imported is declared: by `pyproject.toml` for everybody, or by the extra of that part of the tree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import icehouse

ROOT = Path(__file__).parents[2]
SOURCE = Path(icehouse.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud": "google-cloud-kms",
    "google.iam": "grpc-google-iam-v1",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
}
"""The package that brings a module, where it has another name."""
ROOMS = {
    "aws": ("hsm/awskms/", "hsm/pkcs11/cloudhsm.py", "trial_cluster/"),
    "charts": ("planner/chart.py",),
    "google": ("hsm/gcpkms/",),
    "openbao": ("hsm/openbao/",),
    "postgresql": ("campaigns/transport.py", "store/"),
}
"""Where an extra's packages may be imported."""


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


DECLARED = {name_of(each) for each in PROJECT["dependencies"]}
EXTRAS = {extra: {name_of(each) for each in needs} for extra, needs in PROJECT["optional-dependencies"].items()}


def modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module):
    parts = module.split(".")
    return PACKAGES.get(".".join(parts[:2])) or PACKAGES.get(parts[0]) or parts[0]


def imports():
    for path in sorted(SOURCE.rglob("*.py")):
        for module in set(modules(path)):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "icehouse":
                yield str(path.relative_to(SOURCE)), package_of(module)


@pytest.mark.parametrize(("file", "package"), sorted(set(imports())))
def test_what_is_imported_is_declared(file, package):
    extras = {extra for extra, rooms in ROOMS.items() if file.startswith(rooms)}

    assert package in DECLARED or any(package in EXTRAS[extra] for extra in extras)


def test_what_is_declared_is_imported():
    used = {package for _, package in imports()}
    declared = DECLARED.union(*EXTRAS.values())

    assert declared - used == set()


def test_the_version_is_written_in_one_place():
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))

    assert PROJECT["dynamic"] == ["version"]
    assert icehouse.__version__ == cargo["workspace"]["package"]["version"]
