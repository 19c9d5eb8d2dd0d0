"""What each PKCS#11 module is good for: a vault of each custody is made on it, or refused with these words.

The table of `docs/reference/hsm.md` holds what this finds. With a URI as its argument it prints it, as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from icehouse import Device
from icehouse.errors import HsmError
from icehouse.hsm import open_hsm
from icehouse.service import FrostService
from icehouse.vault.opening import create_vault
from icehouse.vault.settings import load

CUSTODIES = ("direct", "hybrid", "hierarchical")
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "hsm.md"


def tried(uri: str, directory: Path) -> dict[str, str]:
    """For each custody `works`, or the words that a vault is refused with on this module."""
    return {custody: _vault(uri, custody, directory / custody) for custody in CUSTODIES}


def _vault(uri: str, custody: str, place: Path) -> str:
    place.mkdir(parents=True)
    settings = f'[store]\nurl = "sqlite:///vault.db"\n\n[hsm]\nuri = "{uri}"\n'
    (place / "vault.toml").write_text(settings, encoding="utf-8")
    try:
        with FrostService(create_vault(load(place), custody)) as frost:
            _lives(frost)
    except HsmError as exc:
        # A label begins with its vault's number.
        return re.sub(r"icehouse-[0-9a-f]+-", "icehouse-…-", str(exc))
    finally:
        with closing(open_hsm(uri)) as hsm:
            for key in hsm.keys("icehouse-"):
                hsm.destroy_key(key)
    return "works"


def _lives(frost: FrostService) -> None:
    """A user is made, enrols, rotates and signs; an unrelated library verifies."""
    frost.create_users(["alice"])
    alice = Device.create("alice")
    alice.enrol(frost, frost.enrolment_code("alice"))
    alice.rotate(frost)
    signature = frost.create_signing_ceremony(b"message", ["alice", "server"]).run(alice)
    Ed25519PublicKey.from_public_bytes(frost.get_shards("alice").public_key).verify(signature, b"message")


def row(software: str) -> dict[str, str]:
    """What the page says of a module, by its first column."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {software} |")]
    assert len(rows) == 1, f"the page has {len(rows)} rows of {software}"
    _, version, *found = (cell.strip().strip("`") for cell in rows[0].strip("|").split("|"))
    return {"version": version} | dict(zip(CUSTODIES, found, strict=True))


def installed(package: str) -> str:
    """A Debian package's version, as its makers count it."""
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\d+:|[+-].*$", "", told)


def main() -> None:
    """Try the module of a URI."""
    with tempfile.TemporaryDirectory() as place:
        sys.stdout.write(json.dumps(tried(sys.argv[1], Path(place)), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
