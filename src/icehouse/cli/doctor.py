"""`icehouse doctor`: does everything in the vault open, and does it add up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icehouse.cli.destroy import facts_of_removal
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import FAILED, Format, complain, put_facts, say
from icehouse.cli.progress import counted
from icehouse.errors import SealError
from icehouse.service import FrostService
from icehouse.store import data_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.model import RootKey

_NAMED = 5


def doctor(
    *,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Destroy the HSM keys that interrupted commands left.")
    ] = False,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Open the HSM and every record of every key, and count; exit code 2 where something does not fit."""
    # Opening a vault finds its root keys in the HSM and opens the seal over its settings.
    with FrostService.open(named(vault)) as service:
        states: Counter[str] = Counter()
        findings = [str(finding) for finding in _findings(service, states)]
        removed = service.upkeep.remove_orphans() if remove_orphans else []
        orphans = service.upkeep.orphans()
        warnings = service.vault.store.warnings()
        facts = _facts(service, states) | {
            "orphans": [label for label, ours in orphans if ours],
            "orphans_removed": removed,
            "keys_of_others": [label for label, ours in orphans if not ours],
            "findings": findings,
            "warnings": warnings,
        }
    _put(facts, form)
    _explain([label for label, ours in orphans if ours])
    for warning in warnings:
        say(f"warning: {warning}")
    for finding in findings:
        complain(finding)
    if findings:
        raise typer.Exit(FAILED)


def _facts(service: FrostService, states: Counter[str]) -> dict[str, object]:
    info, record = service.hsm.info, service.vault.store.reload()
    removals = [facts_of_removal(removal) for removal in service.upkeep.removals()]
    return {
        "vault": service.vault.vault_id.hex(),
        "custody": service.vault.custody.name,
        "buckets": record.buckets if record.custody == "hierarchical" else None,
        "hsm": f"{info.provider}: {info.model}",
        "hsm_attested": info.attested,
        "hsm_operations": service.hsm.operations.total,
        "root_keys": [_facts_of_root(root) for root in record.roots],
        "users": service.vault.store.count(),
        "users_live": states["live"],
        "users_dealt": states["dealt"],
        "users_suspended": states["suspended"],
        "users_locked": states["lost"],
        "removals": removals,
        "data_keys": len(data_keys.counts(service.vault.store.database)),
    }


def _facts_of_root(root: RootKey) -> dict[str, object]:
    return {"label": root.label, "role": root.role, "version": root.version, "state": root.state}


def _put(facts: dict[str, Any], form: Format) -> None:
    """All of it as JSON; for people, counts and names."""
    if form is Format.JSON:
        put_facts(facts, form)
        return
    removals = Counter(removal["state"] for removal in facts["removals"])
    shown = facts | {
        "root_keys": [f"{root['role']} {root['version']} {root['state']}" for root in facts["root_keys"]],
        "removals": [f"{count} {state}" for state, count in sorted(removals.items())] or None,
        "orphans": len(facts["orphans"]),
        "orphans_removed": len(facts["orphans_removed"]),
        "keys_of_others": len(facts["keys_of_others"]),
        "findings": len(facts["findings"]),
        "warnings": len(facts["warnings"]),
    }
    put_facts(shown, form)


def _explain(orphans: list[str]) -> None:
    if orphans:
        more = f" and {len(orphans) - _NAMED} more" if len(orphans) > _NAMED else ""
        say(f"warning: nothing uses these keys in the HSM: {', '.join(orphans[:_NAMED])}{more}")
        say("hint: an interrupted command left them; 'icehouse doctor --remove-orphans' destroys them")


def _findings(service: FrostService, states: Counter[str]) -> Iterator[SealError]:
    for examined in counted(service.examine(), "opening records", service.vault.store.count()):
        if isinstance(examined, SealError):
            yield examined
        else:
            states[examined.state] += 1
    yield from service.examine_data_keys()
