"""`icehouse rewrap`: new root keys for the same shares, here, in another HSM, or under another custody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts, put_rows, say
from icehouse.cli.progress import advancing
from icehouse.custody import Verb, check_allowed
from icehouse.errors import RequestError
from icehouse.planner.quote import quotes
from icehouse.service import FrostService
from icehouse.upkeep.move_hsm import move, plan_move
from icehouse.vault import settings as vault_settings

if TYPE_CHECKING:
    from icehouse.hsm import HsmInfo
    from icehouse.upkeep.rewrap import RewrapPlan
    from icehouse.upkeep.upkeep import Upkeep

_QUOTED = ("seconds", "usd", "usd_a_month", "provider")


def rewrap(
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URI", help="Move to this HSM; without it, new keys in the same.")
    ] = None,
    to_custody: Annotated[
        str | None,
        typer.Option("--to-custody", metavar="CUSTODY", help="hybrid: convert a hierarchical vault."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many HSM operations, how long, and what it costs.")
    ] = False,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Bring every data key under new root keys. Devices notice nothing; interrupted, the same command goes on."""
    if to is not None and to_custody is not None:
        msg = "--to and --to-custody are two steps: give one of them"
        raise RequestError(msg)
    if to_custody not in {None, "hybrid"}:
        msg = f"--to-custody must be hybrid, not {to_custody!r}: no other custody can be converted to"
        raise RequestError(msg)
    if to is not None:
        _move(named(vault), _from_here(to), form, dry_run=dry_run)
    elif to_custody is not None:
        _convert(named(vault), form, dry_run=dry_run)
    else:
        _renew(named(vault), form, dry_run=dry_run)


def _from_here(uri: str) -> str:
    """Whoever types a relative path means it from here."""
    return vault_settings.absolute(vault_settings.Settings("", uri), Path.cwd()).hsm_uri


def _move(vault: Path, uri: str, form: Format, *, dry_run: bool) -> None:
    plan, info = plan_move(vault, uri)
    if dry_run:
        _put_plan(plan, info, form)
        return
    with advancing("moving data keys", plan.data_keys) as advance:
        moved = move(vault, uri, advance)
    put_facts({"data_keys": moved}, form)
    say("the root keys are in that HSM now, and the former one still holds the old ones")
    say("hint: 'icehouse trim' says what destroying them makes unreadable")


def _renew(vault: Path, form: Format, *, dry_run: bool) -> None:
    with FrostService.open(vault) as service:
        upkeep = service.upkeep
        check_allowed(service.vault.custody, Verb.RENEW)
        if upkeep.promotable:
            _promote(upkeep, form, dry_run=dry_run)
            return
        plan = upkeep.plan_rewrap()
        if dry_run:
            _put_plan(plan, service.hsm.info, form)
            return
        with advancing("rewrapping data keys", plan.data_keys) as advance:
            moved = upkeep.rewrap(advance)
    put_facts({"data_keys": moved}, form)
    say("hint: 'icehouse trim' says what destroying the superseded root keys makes unreadable")


def _promote(upkeep: Upkeep, form: Format, *, dry_run: bool) -> None:
    records = upkeep.in_software()
    if dry_run:
        put_facts({"records_in_software": records}, form)
        say("nothing was changed; without --dry-run they are brought under the HSM")
        return
    with advancing("promoting keys", records) as advance:
        promoted = upkeep.rewrap(advance)
    put_facts({"promoted": promoted}, form)
    say("keys that were made in software are under the HSM now; each device rotates at its next contact")
    say("hint: 'icehouse trim --void-backups' destroys their root keys in software; then the module can go")


def _convert(vault: Path, form: Format, *, dry_run: bool) -> None:
    with FrostService.open(vault) as service:
        plan = service.upkeep.plan_conversion()
        if dry_run:
            _put_plan(plan, service.hsm.info, form)
            return
        with advancing("converting keys", service.vault.store.count()) as advance:
            converted = service.upkeep.convert_to_hybrid(advance)
    put_facts({"users": converted}, form)
    say("warning: the old master key still derives every key it ever derived, until it and its backups are destroyed")
    say("hint: 'icehouse trim' says what that makes unreadable; enrolment codes in force are void, mint new ones")


def _put_plan(plan: RewrapPlan, info: HsmInfo, form: Format) -> None:
    """The plan, and what it comes to at each provider that such an HSM may be."""
    rows = [
        {
            "provider": quote.provider,
            "seconds": None if quote.seconds is None else round(float(quote.seconds), 1),
            "usd": round(float(quote.operations), 6),
            "usd_a_month": round(float(quote.monthly), 6),
        }
        for quote in quotes(info.provider, plan.operations, plan.new_keys)
    ]
    facts = {
        "data_keys": plan.data_keys,
        "new_keys": plan.new_keys,
        "hsm_operations": plan.operations,
        "seconds": plan.seconds,
    }
    if form is Format.JSON:
        put_facts(facts | {"providers": rows}, form)
        return
    put_facts(facts, form)
    put_rows(_QUOTED, rows, form)
    say("nothing was changed; seconds and dollars are those of the catalogue that 'icehouse plan' uses")
