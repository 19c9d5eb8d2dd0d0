"""Consent to the destruction of keys inside an HSM: typed on a terminal, or given label by label."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli.printer import say
from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icehouse.vault.consent import Doomed, Kept

_DIGITS = 8
YesDestroyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--yes-destroy", metavar="LABEL", help="Destroy this key inside the HSM without asking; once for each."
    ),
]


def consented(doomed: Sequence[Doomed], given: Sequence[str] | None, vault_id: bytes) -> list[str]:
    """The labels that a person consents to: those given, or those shown to who types how the vault's id begins.

    Raises `RequestError` where nobody can be asked, or what is typed is something else.
    """
    if given or not doomed:
        return list(given or ())
    say("warning: these keys would be destroyed inside the HSM; no backup of the database brings one back:")
    for one in doomed:
        say(f"  {one.label} ({one.opens})")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "there is no terminal to ask on whether keys inside the HSM are to be destroyed"
        raise RequestError(msg, hint=f"consent to each: {' '.join(f'--yes-destroy {one.label}' for one in doomed)}")
    typed = typer.prompt(f"To destroy them for ever, type the first {_DIGITS} digits of the vault's id", err=True)
    if str(typed).strip() != vault_id.hex()[:_DIGITS]:
        msg = "what was typed is not how the vault's id begins, so no key was destroyed"
        raise RequestError(msg, hint="'icehouse doctor' shows the id, and so does vault.toml")
    return [one.label for one in doomed]


def explain_kept(kept: Sequence[Kept]) -> None:
    """Say which keys stay inside the HSM although the database calls them left over."""
    for one in kept:
        lie = ": the database was changed" if one.changed else ""
        say(f"warning: the key {one.label} is kept: {one.why}{lie}")
