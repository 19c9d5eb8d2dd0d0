"""`icehouse trim`: destroy what superseded data keys and root keys left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli.consent import YesDestroyOption, consented, explain_kept
from icehouse.cli.destroy import facts_of_leftover, warn_of
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts, say
from icehouse.cli.progress import advancing
from icehouse.errors import ConflictError, RequestError
from icehouse.service import FrostService
from icehouse.upkeep.move_hsm import settle
from icehouse.vault.consent import named as _named

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from icehouse.upkeep.trim import Trimmed


def trim(
    *,
    void_backups: Annotated[
        bool,
        typer.Option("--void-backups", help="Also destroy root keys that nothing is under any more: see the docs."),
    ] = False,
    yes_destroy: YesDestroyOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Destroy empty data keys, and name the root keys that may go and the backups that only these can open."""
    if yes_destroy and not void_backups:
        msg = "--yes-destroy is for what --void-backups destroys"
        raise RequestError(msg, hint="nothing in an HSM was destroyed")
    place = named(vault)
    with FrostService.open(place) as service:
        trimmed = _voiding(service, yes_destroy) if void_backups else service.upkeep.trim()
        moving = void_backups and bool(service.vault.custody.roots.former)
    put_facts(
        {
            "data_keys_destroyed": trimmed.data_keys,
            "root_keys_destroyed": trimmed.root_keys if form is Format.JSON else _named(trimmed.root_keys) or None,
            "root_keys_ready": trimmed.ready if form is Format.JSON else _named(trimmed.ready) or None,
            "backups_unreadable_before": _iso(trimmed.unreadable_before),
            "recoverable_until": _iso(trimmed.recoverable_until),
            **facts_of_leftover(trimmed.leftover),
        },
        form,
    )
    _explain(trimmed)
    explain_kept(trimmed.kept)
    if moving:
        _settle(place)


def _voiding(service: FrostService, given: list[str] | None) -> Trimmed:
    """Destroy the root keys that nothing is under, once a person consented to each."""
    with advancing("opening records", service.vault.store.count()) as advance:
        judged = service.upkeep.ready_keys(advance)
    consent = consented(judged.doomed, given, service.vault.vault_id)
    return service.upkeep.trim(void_backups=True, consent=consent)


def _settle(place: Path) -> None:
    """A move comes to its end where nothing of the vault is left behind."""
    try:
        settle(place)
    except ConflictError as exc:
        say(f"the settings go on naming the former HSM: {exc}")
        say(f"hint: {exc.hint}")
    else:
        say("nothing of the vault is left in the former HSM, and the settings do not name it any more")


def _explain(trimmed: Trimmed) -> None:
    before = _iso(trimmed.unreadable_before)
    if trimmed.ready:
        say(
            f"warning: destroying {_named(trimmed.ready)} makes every backup of the database unreadable that was made "
            f"before the rewrap of {before} was finished: make a new backup first"
        )
        say("hint: 'icehouse trim --void-backups' destroys them, once you consented to each")
    elif trimmed.root_keys:
        say(f"no backup of the database can be read that was made before the rewrap of {before} was finished")
    if trimmed.leftover is not None:
        warn_of(trimmed.leftover)
    if trimmed.recoverable_until:
        say(f"until {_iso(trimmed.recoverable_until)} the HSM could bring those keys back")


def _iso(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="seconds")
