"""PostgreSQL: procrastinate carries pages to the workers of all machines; the table of pages decides who works on what.

A job says no more than "this campaign has a page": whoever takes it leases one, or finds none. So a job that is lost
or done twice changes nothing, and once a minute one worker of all announces again what nobody has taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, MissingExtraError, StoreError
from icehouse.store import leases, postgresql
from icehouse.store.foreign import MOST

if TYPE_CHECKING:
    from procrastinate import App

    from icehouse.campaigns.worker import WorkerPool
    from icehouse.store.engine import Database

_logger = logging.getLogger("icehouse")
_MOST_WORDS = 300
QUEUE = "icehouse"
_PAGE, _MINUTE = "icehouse.page", "icehouse.minute"
_AT_ONCE = 500
_OTHER_WORK = 2
"""Threads beside those that work on pages."""
_ATTEMPTS = 5
_LOOKS_EVERY = 1.0
_BEATS_EVERY = 10.0


def is_needed(database: Database) -> bool:
    """Whether pages are announced; else workers look for them in the database themselves.

    They do so on one machine, and behind a pooler, which may have no session left for procrastinate's connections.
    """
    return database.backend == "postgresql" and not database.pooled


def announce(database: Database, campaign: int, pages: int) -> None:
    """Wake workers for so many pages of a campaign."""
    if not (is_needed(database) and pages):
        return
    app = _app(database, pool_size=1)
    with _translated(), app.open():
        task = app.configure_task(_PAGE, queue=QUEUE)
        for at in range(0, pages, _AT_ONCE):
            task.batch_defer(*_jobs(campaign, pages - at))


def serve(crew: WorkerPool) -> None:
    """Work on pages as they are announced, until SIGTERM or Ctrl-C; the page that is begun is ended first."""
    from procrastinate import RetryStrategy  # noqa: PLC0415  an extra's

    database = crew.vault.store.database
    app = _app(database, pool_size=crew.threads + 2)
    again = RetryStrategy(max_attempts=_ATTEMPTS, exponential_wait=2, retry_exceptions={HsmError, StoreError})

    @app.task(name=_PAGE, queue=QUEUE, retry=again)
    def page(**kwargs: object) -> None:
        campaign = _campaign_in(kwargs)
        if campaign is not None:
            crew.step(campaign)

    @app.periodic(cron="* * * * *")
    @app.task(name=_MINUTE, queue=QUEUE, queueing_lock=_MINUTE)
    async def minute(timestamp: object = None, **_: object) -> None:
        del timestamp
        for stalled in await app.job_manager.get_stalled_jobs(queue=QUEUE):
            # Its worker was killed. Its page is taken over by whoever finds it without a sign of life.
            await app.job_manager.finish_job(stalled, _failed(), delete_job=True)
        await asyncio.to_thread(crew.idle)
        jobs = await app.job_manager.list_jobs_async(queue=QUEUE, task=_PAGE, status="todo")
        announced = Counter(_campaign_in(job.task_kwargs) for job in jobs)
        for campaign, pages in await asyncio.to_thread(leases.waiting, database, crew.patience):
            missing = pages - announced[campaign]
            if missing > 0:
                await app.configure_task(_PAGE, queue=QUEUE).batch_defer_async(*_jobs(campaign, missing))

    with _translated():
        asyncio.run(_until_told(app, crew))


async def _until_told(app: App, crew: WorkerPool) -> None:
    """Work until a signal. Raises `StoreError` where procrastinate gave up by itself."""
    from procrastinate.signals import on_stop  # noqa: PLC0415  an extra's

    # Pages are worked on in the loop's threads, of which there are else a few more than cores.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(crew.threads + _OTHER_WORK, "icehouse-worker"))
    async with app.open_async():
        work = asyncio.ensure_future(
            app.run_worker_async(
                queues=[QUEUE],
                name=crew.name,
                concurrency=crew.threads,
                fetch_job_polling_interval=_LOOKS_EVERY,
                # Whoever may connect to the database, to another vault's schema, too, may NOTIFY.
                listen_notify=False,
                update_heartbeat_interval=_BEATS_EVERY,
                delete_jobs="always",
                install_signal_handlers=False,
            )
        )
        with on_stop(lambda: _tell(work)), suppress(asyncio.CancelledError):
            await work
    if not work.cancelled():
        msg = "the database failed while this worker waited for pages"
        raise StoreError(msg, hint="check that the database runs and can be reached, and start the worker again")


def _campaign_in(kwargs: object) -> int | None:
    """The campaign that a job names. Whoever writes the database writes jobs, too: one that names none is no work."""
    campaign = kwargs.get("campaign") if isinstance(kwargs, dict) else None
    return campaign if type(campaign) is int and 0 < campaign <= MOST else None


class _Short(logging.Handler):
    """Says what procrastinate and its loop log in a line: of a job that somebody else wrote they show a stack."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it as icehouse's own."""
        words = record.getMessage().partition("\n")[0]
        _logger.log(record.levelno, "%s: %s", record.name, words[:_MOST_WORDS])


def _tell(work: asyncio.Future[None]) -> None:
    work.cancel()


def _jobs(campaign: int, pages: int) -> list[dict[str, Any]]:
    return [{"campaign": campaign}] * min(pages, _AT_ONCE)


def _failed() -> Any:  # noqa: ANN401  an extra's enum
    from procrastinate.jobs import Status  # noqa: PLC0415

    return Status.FAILED


def _app(database: Database, pool_size: int) -> App:
    try:
        from procrastinate import App, PsycopgConnector  # noqa: PLC0415  an extra's
    except ModuleNotFoundError as exc:
        extra = "postgresql"
        raise MissingExtraError(extra) from exc
    for name in ("procrastinate", "asyncio"):
        theirs = logging.getLogger(name)
        theirs.setLevel(logging.WARNING)
        theirs.handlers, theirs.propagate = [_Short()], False
    return App(connector=PsycopgConnector(conninfo=_conninfo(database), min_size=1, max_size=pool_size))


def _conninfo(database: Database) -> str:
    """How the vault's database is connected to, as libpq takes it: its URLs name several hosts in another way."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415  an extra's

    url = database.engine.url
    _, parameters = database.engine.dialect.create_connect_args(url)
    parameters.pop("context", None)
    with database.read() as connection:
        given: Any = connection.connection.driver_connection  # whose options may come from a service file, too
        # An announcement that is lost changes nothing: none waits for a standby.
        parameters["options"] = f"{given.info.options} -csynchronous_commit=local"
    return make_conninfo("", **postgresql.connect_arguments(url), **parameters)


class _Translated:
    """What procrastinate says of the database, as everything else says it."""

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, _kind: object, raised: BaseException | None, _trace: object) -> None:
        from procrastinate.exceptions import ConnectorException  # noqa: PLC0415  an extra's

        if isinstance(raised, ConnectorException):
            msg = f"the database failed: {raised.__cause__ or raised}"
            raise StoreError(msg) from raised


_translated = _Translated
