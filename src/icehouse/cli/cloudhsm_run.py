"""Which run a command of `icehouse cloudhsm` is about, and whether it may bill."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from icehouse.cli.printer import say
from icehouse.errors import ConflictError, RequestError
from icehouse.planner.money import cents
from icehouse.trial_cluster import Aws, Record, Wanted, bill, lost
from icehouse.trial_cluster.cluster import of_run

if TYPE_CHECKING:
    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.record import Notebook


def unfinished(notebook: Notebook) -> Record | None:
    """The record of a run that has not ended."""
    record = notebook.read()
    return None if record and record.ended_at else record


def required(notebook: Notebook) -> Record:
    """The record of a run, whether or not it has ended."""
    record = notebook.read()
    if record is None:
        msg = f"there is no run in {notebook.directory}"
        raise RequestError(msg, hint="name its directory with --state; 'icehouse cloudhsm status' lists lost runs")
    return record


def at_hand(notebook: Notebook, run: str | None) -> Record | None:
    """The record of the run that was named, or of whichever is there; None where that is another one, or unreadable."""
    if run is None:
        return notebook.read()
    try:
        record = notebook.read()
    except RequestError as exc:
        say(f"{exc}; the run is looked for in AWS")
        return None
    return record if record and record.run == run else None


def begun(record: Record | None, wanted: Wanted, where: tuple[str, str, str], now: int) -> Record:
    """The run to go on with, or a new one."""
    if record is None:
        return Record.new(wanted, where, now)
    check_same(record, where)
    if record.going_down:
        msg = f"the run {record.run} is on its way down"
        raise ConflictError(msg, hint="finish 'icehouse cloudhsm down' first")
    if record.wanted != wanted:
        msg = f"the run {record.run} was begun with other settings: {record.wanted}"
        raise ConflictError(msg, hint="repeat them, or choose another --state")
    return record


def caller(aws: Aws, account: str | None) -> tuple[str, str, str]:
    """Partition, account and region of the credentials."""
    where = aws.caller()
    if account is not None and where[1] != account:
        msg = f"the AWS credentials must be of account {account}, and they are of {where[1]}"
        raise RequestError(msg)
    return where


def check_same(record: Record, where: tuple[str, str, str]) -> None:
    """Refuse credentials, or a region, that are not the run's."""
    was = record.partition, record.account, record.region
    if was != where:
        msg = f"the run {record.run} is of account {record.account} in {record.region}, not {where[1]} in {where[2]}"
        raise RequestError(msg)


def traced(run: str, region: str | None, account: str | None, *, patience: float = 15) -> tuple[Aws, Record]:
    """A run whose directory is lost, and AWS in its region, which its role names where nobody else did."""
    aws = Aws(region, patience=patience)
    record = lost.named(run, caller(aws, account))
    home = lost.home(aws, record)
    if home and region is None and home != aws.region:
        aws = Aws(home, patience=patience)
        record = lost.named(run, caller(aws, account))
    return aws, lost.traced(aws, record)


def cluster_of(aws: Aws, record: Record) -> Cluster | None:
    """The run's cluster, as AWS shows it."""
    return next((each for each in of_run(aws, record) if each.cluster == record.cluster), None)


def agree(record: Record, vanished: list[str], *, yes: bool) -> None:
    """Ask, unless told not to, before anything is made that is billed."""
    rate = bill.rate(record.region)
    source = rate.claim.source if rate.here else f"{rate.claim.source}; of {rate.claim.region}"
    price = f"{cents(rate.claim.value)} an hour each ({source})"
    for words in vanished:
        say(f"{words}; going on makes another one in its place")
    say(f"{_count(record.wanted.hsms)} at {price}: at most {cents(bill.at_the_end(record))} until the end")
    if yes:
        return
    if not sys.stdin.isatty():
        msg = "there is no terminal to ask on whether this may be billed"
        raise RequestError(msg, hint="--yes agrees to it")
    if not typer.confirm("icehouse: go on?", err=True):
        msg = "it was not agreed to; nothing was made"
        raise RequestError(msg)


def _count(hsms: int) -> str:
    return "1 HSM" if hsms == 1 else f"{hsms} HSMs"
