"""`icehouse worker`: works on campaigns, on this machine beside any number of others."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.campaigns import schedule, transport
from icehouse.campaigns.control import Campaigns
from icehouse.campaigns.worker import PATIENCE, Tally, WorkerPool
from icehouse.cli.campaign import stopping
from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put_facts, say
from icehouse.errors import IcehouseError
from icehouse.service import FrostService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse.vault.vault import Vault

_HOUR = 3600.0
_logger = logging.getLogger("icehouse")


def worker(
    *,
    threads: Annotated[int, typer.Option("--threads", min=1, max=64, help="How many pages at once.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="End when no campaign is running.")] = False,
    patience: Annotated[
        int, typer.Option("--patience", metavar="SECONDS", min=1, help="Take over pages that show no life for so long.")
    ] = PATIENCE,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Work on running campaigns, and apply the vault's policy of rotation every hour; SIGTERM ends it at a page's end.

    It refuses a database at another schema than its own. Exit code 2 where the HSM or the database stays away.
    """
    with FrostService.open(named(vault)) as service, stopping() as stop:
        crew = WorkerPool(service.vault, threads, wait=not once, patience=patience, stop=stop)
        if not once:
            crew.idle = _hourly(service.vault)
        say(f"worker {crew.name} is at work")
        tally = _served(crew) if transport.is_needed(service.vault.store.database) and not once else crew.run()
    put_facts(
        {"worker": crew.name, "pages": tally.pages, "superseded": tally.superseded, "given_back": tally.given_back},
        form,
    )


def _served(crew: WorkerPool) -> Tally:
    transport.serve(crew)
    return crew.tally


@contextmanager
def _said() -> Iterator[None]:
    """Log what the policy met: campaigns that are under way go on without it, and it is applied again in an hour."""
    try:
        yield
    except IcehouseError as exc:
        _logger.error("the policy of rotation was not applied: %s", exc)  # noqa: TRY400  the words say what to mend


def _hourly(vault: Vault) -> Callable[[], None]:
    """The vault's policy, applied by one thread at a time, at most once an hour."""
    turn, last = Lock(), 0.0

    def apply() -> None:
        nonlocal last
        if not turn.acquire(blocking=False):
            return
        try:
            if (vault.rotation.every or vault.rotation.suspend) and (not last or monotonic() - last > _HOUR):
                last = monotonic()
                with _said():
                    schedule.apply(vault, Campaigns(vault))
        finally:
            turn.release()

    return apply
