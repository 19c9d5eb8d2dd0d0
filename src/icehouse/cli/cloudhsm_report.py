"""What `icehouse cloudhsm` prints: a run, all runs, and the calls of a dry run."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from icehouse.cli.printer import Format, put, put_rows
from icehouse.cloudhsm import bill, teardown
from icehouse.cloudhsm.record import Record
from icehouse.cloudhsm.up import create_cluster
from icehouse.planner.money import cents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.cloudhsm.cluster import Cluster
    from icehouse.cloudhsm.wanted import Wanted

_MINUTE = 60

Call = tuple[str, str, dict[str, object]]


def report(record: Record, cluster: Cluster | None, now: int, *, armed: bool) -> dict[str, object]:
    """A run's facts."""
    rate = bill.rate(record.region)
    return {
        "run": record.run,
        "region": record.region,
        "cluster": cluster.cluster if cluster else None,
        "state": cluster.state if cluster else "gone" if record.cluster else "not made",
        "hsms": [f"{hsm.hsm} {hsm.state} {hsm.zone}" for hsm in cluster.hsms] if cluster else [],
        "age": _duration((record.ended_at or now) - record.begun_at),
        "left": _duration(0 if record.ended_at else max(0, record.ends_at - now)),
        "ends_at": datetime.fromtimestamp(record.ends_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "teardown_armed": armed,
        "cost_so_far": cents(bill.so_far(record, now)),
        "cost_at_the_end": cents(bill.at_the_end(record)),
        "price": f"{cents(rate.claim.value)} per HSM and hour in {rate.claim.region} ({rate.claim.source})",
    }


def put_runs(found: Iterable[tuple[str, Cluster]], form: Format) -> None:
    """Every run, one a line."""
    rows = [{"run": run, "cluster": each.cluster, "state": each.state, "hsms": len(each.hsms)} for run, each in found]
    put_rows(("run", "cluster", "state", "hsms"), rows, form)


def calls(wanted: Wanted, region: str) -> list[Call]:
    """What `up` would ask of AWS, but for its looks; what only AWS can say stands in capitals."""
    new = Record.new(wanted, ("aws", "ACCOUNT", region), int(time.time()))
    record = replace(new, run="RUN", cluster="CLUSTER")
    add: list[Call] = [
        ("cloudhsmv2", "create_hsm", {"ClusterId": "CLUSTER", "AvailabilityZone": "ZONE"}) for _ in range(wanted.hsms)
    ]
    claim = {"ClusterId": "CLUSTER", "SignedCert": "CERTIFICATE", "TrustAnchor": "ROOT"}
    return [
        ("cloudhsmv2", "create_cluster", create_cluster(record)),
        *teardown.arming(record),
        add[0],
        ("cloudhsmv2", "initialize_cluster", claim),
        *add[1:],
    ]


def put_calls(found: list[Call], form: Format) -> None:
    """The calls, as AWS's own command line takes them."""
    if form is Format.JSON:
        put(json.dumps([{"service": s, "operation": o, "parameters": p} for s, o, p in found], indent=1))
        return
    for service, operation, parameters in found:
        put(f"aws {service} {operation.replace('_', '-')} --cli-input-json {shlex.quote(json.dumps(parameters))}")


def _duration(seconds: int) -> str:
    hours, minutes = divmod(seconds // _MINUTE, _MINUTE)
    return f"{hours}h{minutes:02}m"
