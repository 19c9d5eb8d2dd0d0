"""`icehouse doctor`: is the HSM as it must be, does everything in the vault open, and does it add up."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icehouse.cli.consent import YesDestroyOption, consented
from icehouse.cli.destroy import facts_of_leftover, facts_of_removal
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import FAILED, Format, complain, put, put_facts, put_rows, say
from icehouse.cli.progress import counted
from icehouse.cli.strays import explain, strays
from icehouse.custody import Verb, allows, custody_class, is_ours
from icehouse.errors import HsmError, HsmUnavailableError, MissingExtraError, RequestError, SealError, StoreError
from icehouse.hsm import HsmKey
from icehouse.hsm.checkup import Check, Checkup
from icehouse.model import SOFTWARE, RootState
from icehouse.service import FrostService
from icehouse.store import VaultStore, data_keys, root_keys
from icehouse.store.counts import miscounts
from icehouse.vault import settings as vault_settings
from icehouse.vault.consent import Judged
from icehouse.vault.exposure import exposures
from icehouse.vault.opening import KIND_OF, check_vault_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.errors import IcehouseError
    from icehouse.model import RootKey, VaultRecord
    from icehouse.store.wal import Leftover
    from icehouse.vault.settings import Settings

_NAMED = 5
_COLUMNS = ("ok", "hsm", "check", "detail")


@dataclass
class _Found:
    """What was found: facts, and what does not fit."""

    facts: dict[str, object] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hints: dict[str, str | None] = field(default_factory=dict)
    leftover: Leftover | None = None

    def add(self, error: IcehouseError) -> None:
        self.findings.append(str(error))
        self.hints[str(error)] = error.hint


def doctor(
    *,
    hsm: Annotated[
        str | None,
        typer.Option("--hsm", metavar="URI", help="Only look at this HSM, and which keys no vault here has."),
    ] = None,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Destroy the HSM keys that interrupted commands left.")
    ] = False,
    yes_destroy: YesDestroyOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check the HSM from end to end, and open and count every record; exit code 2 where something does not fit."""
    if yes_destroy and not remove_orphans:
        msg = "--yes-destroy is for what --remove-orphans destroys"
        raise RequestError(msg, hint="nothing in an HSM was destroyed")
    if hsm is not None:
        # Whoever types a relative path means it from here.
        uri = vault_settings.absolute(vault_settings.Settings("", hsm), Path.cwd()).hsm_uri
        checkup = Checkup("hsm", uri)
        unknown = strays(checkup.there, vault)
        checks, found = checkup.checks, _Found({"unknown_keys": unknown} if checkup.opened else {})
        explain(unknown, _NAMED)
    else:
        place = named(vault)
        checks, found = _vault(place, remove_orphans=remove_orphans, given=yes_destroy)
    _put(found, checks, form)
    for warning in found.warnings:
        say(f"warning: {warning}")
    wrong = [check for check in checks if check.ok is False]
    for check in wrong:
        if check.detail not in found.findings:
            complain(f"{check.hsm}: {check.check}: {check.detail}", check.mend)
    for finding in found.findings:
        complain(finding, found.hints.get(finding))
    if wrong or found.findings:
        raise typer.Exit(FAILED)


def _vault(place: Path, *, remove_orphans: bool, given: list[str] | None) -> tuple[list[Check], _Found]:
    """The HSMs one by one, and the vault over them, or as much of it as can be read without."""
    settings = vault_settings.load(place)
    store = VaultStore.open(settings.store_url)
    if store is None:
        msg = "the database holds no vault"
        raise RequestError(msg, hint="make one with 'icehouse init'")
    found = _Found(warnings=[*store.warnings(), *exposures(place, settings)])
    with closing(store):
        check_vault_id(settings, store.vault_id)
        _look_at_the_journal(store, found)
        try:
            store.database.confirm()
        except StoreError as exc:
            found.add(exc)
        try:
            # Opening a vault finds its root keys in the HSM and opens the seal over its settings.
            service = FrostService.open(place)
        except (HsmError, SealError, MissingExtraError, RequestError) as exc:
            found.add(exc)
            _look_at_the_database(store, found)
        else:
            with service:
                _look_at_everything(service, found)
                _look_for_orphans(service, found, remove_orphans=remove_orphans, given=given)
        current = [root for root in store.reload().roots if root.state is RootState.CURRENT]
        return _checks(settings, current), found


def _look_at_the_journal(store: VaultStore, found: _Found) -> None:
    """Empty it, for that alone shows whether somebody keeps in it what was removed."""
    try:
        found.leftover = store.database.shrink()
    except StoreError as exc:
        found.warnings.append(f"whether the journal holds what was removed could not be seen: {exc}")
    if found.leftover is not None:
        found.warnings.append(f"{found.leftover}; {found.leftover.hint}")


def _checks(settings: Settings, roots: Sequence[RootKey]) -> list[Check]:
    keys = [HsmKey(root.label, KIND_OF[root.role]) for root in roots]
    named = {
        "hsm": settings.hsm_uri,
        "claim hsm": settings.hsm_claim_uri,
        "former hsm": settings.hsm_former_uri,
        "former claim hsm": settings.hsm_former_claim_uri,
        "fallback": settings.fallback_uri,
    }
    first = {uri: name for name, uri in reversed(named.items()) if uri}
    ups = [Checkup(name, uri, keys) for uri, name in first.items()]
    checks = [check for up in ups for check in up.checks]
    there = {label for up in ups for label in up.there | up.gone}
    if all(up.opened for up in ups):
        missing = [key.label for key in keys if key.label not in there]
        checks += [Check("all", f"key {label}", ok=False, detail="no HSM of this vault has it") for label in missing]
    return checks


def _look_at_everything(service: FrostService, found: _Found) -> None:
    states: Counter[str] = Counter()
    away = 0
    for examined in counted(service.examine(), "opening records", service.vault.store.count()):
        if isinstance(examined, HsmUnavailableError):
            away += 1
        elif isinstance(examined, SealError):
            found.add(examined)
        else:
            states.update((examined.state, examined.origin))
    for miscount in service.examine_data_keys():
        found.add(miscount)
    if away:
        found.findings.append(f"the records of {away} users could not be opened: the HSM is away")
    info = service.hsm.info
    found.facts = _facts(service.vault.store, states) | {
        "hsm": f"{info.provider}: {info.model}",
        "hsm_attested": info.attested,
        "hsm_operations": service.hsm.operations.total,
        "in_software": service.upkeep.in_software(),
        "removals": [facts_of_removal(removal) for removal in service.upkeep.removals()],
    }
    if service.upkeep.promotable:
        say("warning: keys of this vault are in software, where they were made while the HSM was away")
        say("hint: 'icehouse rewrap' promotes them once the HSM is there")


def _look_for_orphans(service: FrostService, found: _Found, *, remove_orphans: bool, given: list[str] | None) -> None:
    """Keys in the HSM that nothing is under; they are destroyed where that was asked for and consented to."""
    upkeep = service.upkeep
    removed: list[str] = []
    judged = Judged()
    try:
        if remove_orphans:
            consent = consented(upkeep.judged_orphans().doomed, given, service.vault.vault_id)
            removed = upkeep.remove_orphans(consent)
        if not service.vault.custody.roots.absent:
            judged = upkeep.judged_orphans()
    except HsmUnavailableError as exc:
        # A long list breaks off where the service's quota is spent: what else was found is told all the same.
        found.add(exc)
    named = set(root_keys.states(service.vault.store.database))
    found.facts |= {
        "orphans": [one.label for one in judged.doomed],
        "orphans_removed": removed,
        "orphans_kept": [one.label for one in judged.kept],
        "keys_of_others": sorted(judged.there - named),
    }
    for one in judged.kept:
        words = f"the key {one.label} in the HSM is kept, although the database calls it left over: {one.why}"
        (found.findings if one.changed else found.warnings).append(words)
    _explain([one.label for one in judged.doomed])


def _look_at_the_database(store: VaultStore, found: _Found) -> None:
    """What can be read without the HSM: rows that contradict themselves, and counts that are wrong."""
    states: Counter[str] = Counter()
    for reading in store.readings():
        if isinstance(reading, SealError):
            found.add(reading)
        else:
            states.update((str(reading.state), reading.origin))
    for number, used, live, there in miscounts(store):
        found.add(SealError(f"data key {number} counts {used} records ever and {live} now; {there} are found"))
    found.facts = _facts(store, states)
    say("warning: without the HSM no record was opened, and its keys were not compared with the database's")


def _facts(store: VaultStore, states: Counter[str]) -> dict[str, object]:
    record = store.reload()
    return {
        "vault": record.vault_id.hex(),
        "custody": record.custody,
        "buckets": _buckets(record),
        "database": store.connected,
        "root_keys": [_facts_of_root(root) for root in record.roots],
        "users": store.count(),
        "users_live": states["live"],
        "users_dealt": states["dealt"],
        "users_suspended": states["suspended"],
        "users_locked": states["lost"],
        "users_made_in_software": states[SOFTWARE],
        "data_keys": len(data_keys.counts(store.database)),
    }


def _buckets(record: VaultRecord) -> int | None:
    if is_ours(record.custody):
        return record.buckets if allows(custody_class(record.custody), Verb.SHARE_NODES) else None
    return record.buckets or None  # nothing is imported: perhaps no HSM vouched for the custody's name


def _facts_of_root(root: RootKey) -> dict[str, object]:
    return {"label": root.label, "role": root.role, "version": root.version, "state": root.state}


def _put(found: _Found, checks: Sequence[Check], form: Format) -> None:
    """All of it as JSON; for people, counts and names, and the checks one by one."""
    facts: dict[str, Any] = (
        found.facts | facts_of_leftover(found.leftover) | {"findings": found.findings, "warnings": found.warnings}
    )
    if form is Format.JSON:
        put_facts(facts | {"checks": [check._asdict() for check in checks]}, form)
        return
    if found.facts:
        put_facts({name: _shown(name, value) for name, value in facts.items()}, form)
        put("")
    width = max(len(check.check) for check in checks)
    put_rows(_COLUMNS, [check._asdict() | {"check": f"{check.check:{width}}"} for check in checks], form)


def _shown(name: str, value: Any) -> object:  # noqa: ANN401  facts are of any type
    match name:
        case "root_keys":
            return [f"{root['role']} {root['version']} {root['state']}" for root in value]
        case "removals":
            counts = Counter(removal["state"] for removal in value)
            return [f"{count} {state}" for state, count in sorted(counts.items())] or None
        case (
            "orphans" | "orphans_removed" | "orphans_kept" | "keys_of_others" | "unknown_keys" | "findings" | "warnings"
        ):
            return len(value)
        case _:
            return value


def _explain(orphans: list[str]) -> None:
    if orphans:
        more = f" and {len(orphans) - _NAMED} more" if len(orphans) > _NAMED else ""
        say(f"warning: no record of this database is under these keys in the HSM: {', '.join(orphans[:_NAMED])}{more}")
        say(
            "hint: an interrupted command left them; 'icehouse doctor --remove-orphans' destroys them, once you consent"
            "; after an older database was put back, keep them: newer backups may need them"
        )
