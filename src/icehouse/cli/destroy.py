"""`icehouse users destroy`: remove users' keys at once, and say when nothing could bring them back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli.consent import YesDestroyOption, consented
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, printable, put_rows, say
from icehouse.errors import RequestError
from icehouse.model import check_user
from icehouse.service import FrostService
from icehouse.vault.consent import Judged, check_consent

if TYPE_CHECKING:
    from icehouse.store.wal import Leftover
    from icehouse.users.destroy import Removal

_COLUMNS = ("state", "until", "waits_for", "user")
_NAMED = 5


def destroy(
    names: Annotated[list[str], typer.Argument(metavar="USER...", help="The users.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; keys inside the HSM take --yes-destroy.")] = False,
    yes_destroy: YesDestroyOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Remove users' keys at once, and say whether they are destroyed or what that waits for; again, how far it is.

    A direct vault's users have keys of their own inside the HSM: you consent to each of these on a terminal, or by
    --yes-destroy.
    """
    users = list(dict.fromkeys(check_user(name) for name in names))
    with FrostService.open(named(vault)) as service:
        # Every name is looked at before the first key is removed.
        unknown = [user for user in users if service.vault.store.key_of(user) is None]
        if unknown:
            msg = f"there is no user {', '.join(map(repr, unknown[:_NAMED]))}; nobody's key was removed"
            raise RequestError(msg)
        doomed = service.own_keys(users).doomed
        if not (yes or doomed):
            _ask(users)
        consent = consented(doomed, yes_destroy, service.vault.vault_id)
        check_consent(Judged(doomed), consent)
        removals = (service.destroy_user(user, consent=consent) for user in users)
        put_rows(_COLUMNS, (facts_of_removal(_told_of(removal)) for removal in removals), form)


def _told_of(removal: Removal) -> Removal:
    if removal.leftover is not None:
        warn_of(removal.leftover)
    return removal


def warn_of(leftover: Leftover) -> None:
    """Say in which files removed bytes may still lie, and what ends it."""
    say(f"warning: {leftover}")
    say(f"hint: {leftover.hint}")


def _ask(users: list[str]) -> None:
    names = ", ".join(users[:_NAMED]) + (f" and {len(users) - _NAMED} more" if len(users) > _NAMED else "")
    confirm(f"Destroy the keys of {printable(names)} for ever?")


def confirm(question: str) -> None:
    """Ask on the terminal; raises `RequestError` unless the answer is yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "there is no terminal to ask on whether keys are to be destroyed"
        raise RequestError(msg, hint="say so with --yes")
    if not typer.confirm(question, err=True):
        msg = "nobody's key was removed"
        raise RequestError(msg)


def facts_of_removal(removal: Removal) -> dict[str, object]:
    """How far the destruction of a user's key has come."""
    return {
        "user": removal.user,
        "state": _state(removal),
        "waits_for": removal.waits_for or None,
        "until": None if removal.until is None else removal.until.isoformat(timespec="seconds"),
        **facts_of_leftover(removal.leftover),
    }


def facts_of_leftover(leftover: Leftover | None) -> dict[str, object]:
    """The files in which removed bytes may still lie, and who keeps them there; nothing where there are none."""
    return {} if leftover is None else {"still_in": leftover.files, "kept_by": leftover.readers}


def _state(removal: Removal) -> str:
    if removal.destroyed:
        return "destroyed"
    return "removed" if removal.leftover is None else "removing"
