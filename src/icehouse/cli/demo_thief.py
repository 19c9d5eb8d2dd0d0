"""The part of the demonstration in which someone has stolen the database."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

from icehouse._core import data_key_to_bytes
from icehouse.errors import HsmRefusedError, IcehouseError, SealError
from icehouse.files import durable_file
from icehouse.hsm import KeyKind, open_hsm
from icehouse.model import Purpose
from icehouse.store import VaultStore, data_keys
from icehouse.vault.opening import open_vault
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from icehouse.service import FrostService


def search(service: FrostService, vault: Path, user: str, codes: list[str]) -> None:
    """Look in the database's files for what a thief would like to find there."""
    _chapter("Someone steals the database and searches it")
    found = b"".join(path.read_bytes() for path in sorted(vault.glob("vault.db*")))
    _line(f"{len(found)} bytes; names are no secret: {user!r} is there {found.count(user.encode())} times")
    custody = service.vault.custody
    rows = data_keys.counts(service.vault.store.database)
    opened = [custody.open_number(row.number, Purpose(row.purpose)).key for row in rows]
    secrets = [data_key_to_bytes(key) for key in opened if key is not None]
    _line(f"the {len(secrets)} data keys, as the HSM unwraps them: there {_times(found, secrets)} times")
    spelled = [spelling for code in codes for spelling in (code.encode(), bytes.fromhex(code))]
    _line(f"the {len(codes)} enrolment codes, in hex and in bytes: there {_times(found, spelled)} times")


def try_other_modules(vault: Path, own: Path) -> None:
    """Try to open the stolen database with an HSM of one's own."""
    own.mkdir()
    for path in vault.glob("vault.db*"):
        shutil.copyfile(path, own / path.name)
    durable_file.create(own / "pin", b"thief\n")
    uri = f"simulated:{quote(str(own / 'token'))}?pin-source=file:{quote(str(own / 'pin'))}"
    settings = Settings(f"sqlite:///{own / 'vault.db'}", uri)
    _chapter("and opens it with a simulated HSM of his own")
    module = open_hsm(uri, create=True)
    _attempt(settings, HsmRefusedError)
    store = VaultStore.open(settings.store_url)
    if store is not None:
        for root in store.record.roots:
            module.create_key(root.label, KeyKind.AES)
        store.close()
    _line("so he makes keys of the same names")
    _attempt(settings, SealError)


def _attempt(settings: Settings, expected: type[IcehouseError]) -> None:
    try:
        open_vault(settings)
    except expected as refusal:
        _line(f"refused: {refusal}")
    else:
        msg = "the stolen database opened: this must never happen"
        raise IcehouseError(msg)


def _times(found: bytes, secrets: list[bytes]) -> int:
    return sum(found.count(secret) for secret in secrets)


def _chapter(title: str) -> None:
    sys.stdout.write(f"\n{title}\n")


def _line(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()
