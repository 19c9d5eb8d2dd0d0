"""`icehouse doctor`: does everything in the vault open, and does it add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import FAILED, Format, complain, put_facts
from icehouse.cli.progress import counted
from icehouse.errors import SealError
from icehouse.service import FrostService
from icehouse.store import data_keys

if TYPE_CHECKING:
    from collections.abc import Iterator


def doctor(vault: VaultOption = None, form: FormatOption = Format.TABLE) -> None:
    """Open the HSM and every record of every key, and count; exit code 2 where something does not fit."""
    # Opening a vault finds its root keys in the HSM and opens the seal over its settings.
    with FrostService.open(named(vault)) as service:
        states: Counter[str] = Counter()
        findings = [str(finding) for finding in _findings(service, states)]
        info = service.hsm.info
        facts = {
            "vault": service.vault.vault_id.hex(),
            "custody": service.vault.custody.name,
            "hsm": f"{info.provider}: {info.model}",
            "hsm_attested": info.attested,
            "hsm_operations": service.hsm.operations.total,
            "users": service.vault.store.count(),
            "users_live": states["live"],
            "users_dealt": states["dealt"],
            "data_keys": len(data_keys.counts(service.vault.store.database)),
            "findings": findings,
        }
    if form is Format.JSON:
        put_facts(facts, form)
    else:
        put_facts(facts | {"findings": len(findings)}, form)
    for finding in findings:
        complain(finding)
    if findings:
        raise typer.Exit(FAILED)


def _findings(service: FrostService, states: Counter[str]) -> Iterator[SealError]:
    for examined in counted(service.examine(), "opening records", service.vault.store.count()):
        if isinstance(examined, SealError):
            yield examined
        else:
            states[examined.state] += 1
    yield from service.examine_data_keys()
