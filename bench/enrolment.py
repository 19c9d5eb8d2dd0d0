"""Enrolling every user of a vault, to see what an enrolled user takes on disk."""

from __future__ import annotations

import multiprocessing
import os
import random
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from sqlalchemy import event

from bench import vaults
from icehouse import Device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def enrol_all(directory: Path, users: Sequence[str]) -> None:
    """Enrol each user with a device of its own, in random order as users come, on all cores."""
    order = list(users)
    random.Random(1).shuffle(order)  # noqa: S311  an order, no secret
    workers = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for done in [pool.submit(_enrol, directory, order[first::workers]) for first in range(workers)]:
            done.result()


def _enrol(directory: Path, users: Sequence[str]) -> None:
    with vaults.reopen(directory) as service:
        # Whether a commit waits for the disk changes no byte of the database, and this is about bytes.
        engine = service.vault.store.database.engine
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        engine.dispose()
        for user in users:
            Device.create(user).enrol(service, service.enrolment_code(user))
