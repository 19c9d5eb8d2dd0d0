"""What `icehouse cloudhsm` prints: a run, all runs, and the calls of a dry run."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from icehouse.cli.printer import Format, put, put_rows, say
from icehouse.errors import HsmError, HsmRefusedError, RequestError
from icehouse.planner.money import cents
from icehouse.trial_cluster import Aws, bill
from icehouse.trial_cluster.backups import kept as backups_kept
from icehouse.trial_cluster.cluster import SETTLING
from icehouse.trial_cluster.last_words import END_IT, billed
from icehouse.trial_cluster.record import TAG, Record
from icehouse.trial_cluster.teardown import arming
from icehouse.trial_cluster.up import create_cluster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.trial_cluster.armed import Teardown
    from icehouse.trial_cluster.cluster import Cluster
    from icehouse.trial_cluster.wanted import Wanted

_MINUTE = 60

Call = tuple[str, str, dict[str, Any]]


def report(record: Record, cluster: Cluster | None, teardown: Teardown) -> dict[str, object]:
    """A run's facts."""
    rate, now = bill.rate(record.region), teardown.now
    new = now - max(record.asked_at, record.made_at) < SETTLING
    gone, unseen = cluster is None and not new, "not shown yet" if new else "gone"
    return {
        "run": record.run,
        "region": record.region,
        "cluster": cluster.cluster if cluster else None,
        "state": cluster.state if cluster else unseen if record.cluster else "not made",
        "hsms": [f"{hsm.words} {hsm.zone}".replace(" is ", " ", 1) for hsm in cluster.hsms] if cluster else [],
        "age": _duration((record.ended_at or now) - record.begun_at),
        "left": _duration(0 if record.ended_at else max(0, record.ends_at - now)),
        "ends_at": _moment(record.ends_at),
        "teardown_armed": teardown.armed,
        "teardown": teardown.words,
        "cost_so_far": cents(bill.so_far(record, now, gone=gone)),
        "cost_at_the_end": cents(bill.at_the_end(record, now, gone=gone)),
        "price": f"{cents(rate.claim.value)} per HSM and hour in {rate.claim.region} ({rate.claim.source})",
    }


def check(record: Record, cluster: Cluster | None, teardown: Teardown) -> None:
    """Say what is wrong with a run. Raises `HsmRefusedError` for one that should have ended, and is billed."""
    check_lost(record, [cluster] if cluster else [], teardown)


def check_lost(record: Record, clusters: list[Cluster], teardown: Teardown) -> None:
    """The same of a run that may have several clusters."""
    for cluster in clusters:
        if cluster.run != record.run:
            say(f"warning: {cluster.cluster} no longer carries the tag {TAG} of run {record.run}; 'down' wants it back")
    hsms = billed(clusters)
    if not hsms:
        return
    if not teardown.armed:
        say(f"warning: nothing ends this run by itself; {END_IT}. The teardown: {teardown.words}")
    _refuse_overdue([(record.run, record.ends_at, hsms)], teardown.now, teardown.words)


def say_parts(record: Record, clusters: list[Cluster], parts: dict[str, bool]) -> None:
    """Say what is left of a run that has no cluster any more."""
    if not clusters:
        say(f"no cluster of run {record.run} is left; left, and not billed: {', '.join(parts)} {record.name}; {END_IT}")


def check_runs(runs: list[tuple[str, Cluster]], aws: Aws) -> None:
    """Raises `HsmRefusedError` where one of all runs should have ended, and is billed."""
    if not runs:
        say(f"no run of icehouse is in {aws.region}")
    _refuse_overdue([(run, each.ends_at, billed([each])) for run, each in runs], aws.now, "")


def _refuse_overdue(runs: list[tuple[str, int, list[str]]], now: int, teardown: str) -> None:
    late = [(run, ends_at, hsms) for run, ends_at, hsms in runs if hsms and 0 < ends_at <= now]
    if not late:
        return
    msg = "; ".join(
        f"the time of run {run} was over at {_moment(ends_at)}, and {', '.join(hsms)} of it are billed"
        for run, ends_at, hsms in late
    )
    run = late[0][0]
    hint = f"'icehouse cloudhsm down' in its directory, or with --run {run}, ends it"
    raise HsmRefusedError(msg, hint=f"{hint}; the teardown: {teardown}" if teardown else hint)


def backups(aws: Aws, clusters: Iterable[str]) -> list[str]:
    """The backups that AWS keeps of these clusters; says what becomes of them."""
    names = sorted(clusters)
    try:
        kept = backups_kept(aws, names)
    except HsmError as exc:
        say(f"which backups AWS keeps is not known: {exc}")
        return []
    if kept:
        say(
            f"AWS keeps {len(kept)} of {', '.join(names)} for 7 days, and the last one until it is deleted: "
            f"aws cloudhsmv2 delete-backup --region {aws.region} --backup-id {kept[-1]}"
        )
    return kept


def put_runs(runs: Iterable[tuple[str, Cluster]], form: Format) -> None:
    """Every run, one a line."""
    rows = [
        {
            "run": run,
            "cluster": each.cluster,
            "state": each.state,
            "hsms": len(each.hsms),
            "ends_at": _moment(each.ends_at) if each.ends_at else None,
        }
        for run, each in runs
    ]
    put_rows(("run", "cluster", "state", "hsms", "ends_at"), rows, form)


def region_for_calls(region: str | None) -> str:
    """The region that a dry run prints: a word for it where nobody named one."""
    try:
        return Aws(region).region
    except RequestError:
        if region is not None:
            raise
        return "REGION"


def calls(wanted: Wanted, region: str) -> list[Call]:
    """What `up` would ask of AWS, but for its looks; what only AWS can say stands in capitals."""
    new = Record.new(wanted, ("aws", "ACCOUNT", region), int(time.time()))
    record = replace(new, run="RUN", cluster="CLUSTER")
    add: list[Call] = [
        ("cloudhsmv2", "create_hsm", {"ClusterId": "CLUSTER", "AvailabilityZone": "ZONE"}) for _ in range(wanted.hsms)
    ]
    claim: dict[str, Any] = {"ClusterId": "CLUSTER", "SignedCert": "CERTIFICATE", "TrustAnchor": "ROOT"}
    return [
        ("cloudhsmv2", "create_cluster", create_cluster(record)),
        *arming(record),
        add[0],
        ("cloudhsmv2", "initialize_cluster", claim),
        *add[1:],
    ]


def put_calls(listed: list[Call], form: Format) -> None:
    """The calls, as AWS's own command line takes them."""
    if form is Format.JSON:
        put(json.dumps([{"service": s, "operation": o, "parameters": p} for s, o, p in listed], indent=1))
        return
    for service, operation, parameters in listed:
        put(f"aws {service} {operation.replace('_', '-')} --cli-input-json {shlex.quote(json.dumps(parameters))}")


def _moment(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: int) -> str:
    hours, minutes = divmod(seconds // _MINUTE, _MINUTE)
    return f"{hours}h{minutes:02}m"
