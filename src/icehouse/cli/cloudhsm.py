"""`icehouse cloudhsm`: a trial cluster of AWS CloudHSM, by the hour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli import cloudhsm_report as tell
from icehouse.cli import five_users
from icehouse.cli.cloudhsm_run import (
    agree,
    at_hand,
    begun,
    caller,
    check_same,
    cluster_of,
    required,
    traced,
    unfinished,
)
from icehouse.cli.options import FormatOption  # noqa: TC001  Typer reads it
from icehouse.cli.printer import Format, put_facts, say
from icehouse.cli.secret import key_passphrase
from icehouse.errors import ConflictError, RequestError
from icehouse.hsm.configuration import CLOUDHSM_MODULE, CLOUDHSM_TOKEN, hsm_uri
from icehouse.planner.money import cents
from icehouse.trial_cluster import Aws, Record, Wanted, bill
from icehouse.trial_cluster.armed import look
from icehouse.trial_cluster.certificate_files import KEY_FILE, ROOT_FILE
from icehouse.trial_cluster.cluster import of_run, tagged
from icehouse.trial_cluster.down import lower
from icehouse.trial_cluster.hsms import renewed
from icehouse.trial_cluster.last_words import naming_the_bill
from icehouse.trial_cluster.record import Notebook
from icehouse.trial_cluster.teardown import left
from icehouse.trial_cluster.up import ACTIVATION, Raising
from icehouse.trial_cluster.wanted import MODES, TYPE, seconds

if TYPE_CHECKING:
    from icehouse.trial_cluster.cluster import Cluster

app = typer.Typer(help="A trial cluster of AWS CloudHSM, by the hour, that ends by itself.", no_args_is_help=True)

_StateOption = Annotated[
    Path,
    typer.Option("--state", envvar="ICEHOUSE_CLOUDHSM_STATE", metavar="DIR", help="Where the run keeps what it knows."),
]
_RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="The AWS region; else the one of AWS's own settings.")
]
_AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="Refuse credentials of any other AWS account.")
]
_RunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="A run by its tag, where its directory is lost.")
]
_PollOption = Annotated[float, typer.Option("--poll", metavar="SECONDS", min=0, help="How often AWS is asked.")]
_PassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="A file with the passphrase of the cluster's root key; else ICEHOUSE_PASSPHRASE, else a prompt.",
    ),
]
_STATE = Path("cloudhsm")
_POLL = 15.0


@app.command("up")
def up(  # noqa: PLR0913  each option is a fact of the cluster
    *,
    ttl: Annotated[str, typer.Option("--ttl", metavar="TIME", help="When it ends by itself: 2h, 90m, 1d.")],
    subnet: Annotated[
        list[str] | None, typer.Option("--subnet", metavar="ID", help="A subnet of the cluster; may be repeated.")
    ] = None,
    hsms: Annotated[int, typer.Option("--hsms", metavar="N", help="How many HSMs.")] = 2,
    hsm_type: Annotated[str, typer.Option("--type", metavar="TYPE", help="The kind of HSM.")] = TYPE,
    mode: Annotated[str, typer.Option("--mode", metavar="MODE", help=f"{' or '.join(MODES)}, for ever.")] = MODES[0],
    state: _StateOption = _STATE,
    region: _RegionOption = None,
    account: _AccountOption = None,
    passphrase_file: _PassphraseOption = None,
    poll: _PollOption = _POLL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the AWS calls and make none.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it bills.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a cluster, claim it, and add its HSMs, once its end is certain. Again after a crash, it goes on."""
    wanted = Wanted(seconds(ttl), tuple(subnet or ()), hsms, hsm_type, mode)
    if dry_run:
        tell.put_calls(tell.calls(wanted, tell.region_for_calls(region)), form)
        return
    aws = Aws(region, patience=poll)
    notebook = Notebook(state)
    before = unfinished(notebook)
    record = begun(before, wanted, caller(aws, account), aws.now)
    begun_hsms = record.hsms
    with naming_the_bill(lambda: record, lambda: begun_hsms, say):
        record, vanished = renewed(aws, record) if record.hsms else (record, [])
    agree(record, vanished, yes=yes)
    passphrase = key_passphrase(passphrase_file, new=not (state / KEY_FILE).exists())
    with notebook.held():
        if unfinished(notebook) != before:
            msg = f"{state} was changed meanwhile"
            raise ConflictError(msg)
        raising = Raising(aws, notebook, record, passphrase, say)
        notebook.write(record)
        cluster = raising.run()
        with naming_the_bill(lambda: raising.record, lambda: raising.record.hsms, say):
            put_facts(tell.report(raising.record, cluster, look(aws, raising.record)), form)
    _say_what_is_left(raising, cluster, state)


@app.command("status")
def status(
    *,
    state: _StateOption = _STATE,
    run: _RunOption = None,
    region: _RegionOption = None,
    account: _AccountOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show a run: its cluster, age, hours left and cost; without a directory, every run that AWS knows of."""
    record = at_hand(Notebook(state), run)
    if record is None and run:
        aws, record = traced(run, region, account)
        clusters = of_run(aws, record)
        tell.put_runs([(run, each) for each in clusters], form)
        tell.check_lost(record, clusters, look(aws, record))
        tell.say_parts(record, clusters, left(aws, record))
        return
    aws = Aws(region or (record.region if record else None))
    where = caller(aws, account)
    if record is None:
        runs = tagged(aws)
        tell.put_runs(runs, form)
        tell.check_runs(runs, aws)
        return
    check_same(record, where)
    cluster = cluster_of(aws, record)
    teardown = look(aws, record)
    put_facts(tell.report(record, cluster, teardown), form)
    tell.check(record, cluster, teardown)


@app.command("test")
def walk(
    *,
    pin_file: Annotated[Path, typer.Option("--pin-file", metavar="FILE", help="A file with its PIN: USER:PASSWORD.")],
    module: Annotated[Path, typer.Option("--module", metavar="FILE", help="CloudHSM's PKCS#11 module.")] = Path(
        CLOUDHSM_MODULE
    ),
    token_label: Annotated[str, typer.Option("--token-label", metavar="LABEL", help="Its token.")] = CLOUDHSM_TOKEN,
    state: _StateOption = _STATE,
    account: _AccountOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make five users' keys on the cluster, sign and rotate, leave no key behind, and say what it cost."""
    notebook = Notebook(state)
    record = required(notebook)
    aws = Aws(record.region)
    check_same(record, caller(aws, account))
    cluster = cluster_of(aws, record)
    if cluster is None or cluster.state != "ACTIVE":
        msg = f"the cluster must be ACTIVE, and it is {cluster.state if cluster else 'gone'}"
        raise RequestError(msg, hint="'icehouse cloudhsm up' says how it is activated")
    with notebook.held():
        told = five_users.Walkthrough(state / "walkthrough", _uri(record, module, pin_file, token_label)).run()
    rate = bill.rate(record.region)
    put_facts(
        {
            **told.facts,
            "cost_of_these_seconds": cents(rate.share(len(cluster.hsms), told.seconds)),
            "cost_so_far": cents(bill.so_far(record, aws.now)),
            "cost_at_the_end": cents(bill.at_the_end(record, aws.now)),
        },
        form,
    )


@app.command("down")
def down(
    *,
    state: _StateOption = _STATE,
    run: _RunOption = None,
    region: _RegionOption = None,
    account: _AccountOption = None,
    poll: _PollOption = _POLL,
    form: FormatOption = Format.TABLE,
) -> None:
    """Delete the HSMs, then the cluster, then its teardown, and see that nothing is left. Again after a crash."""
    notebook = Notebook(state)
    record = at_hand(notebook, run)
    if record is None and run:
        aws, record = traced(run, region, account, patience=poll)
        lowered = lower(aws, record, say)
        put_facts({"run": run, "left": "nothing", "backups": tell.backups(aws, lowered.clusters)}, form)
        return
    record = required(notebook)
    aws = Aws(region or record.region, patience=poll)
    check_same(record, caller(aws, account))
    with notebook.held():
        record = notebook.note(required(notebook), going_down=True)
        lowered = lower(aws, record, say)
        # Where the teardown had come before, the run ended with its time and not only now.
        ended_at = aws.now if lowered.hsms else min(aws.now, record.ends_at)
        record = notebook.note(record, ended_at=record.ended_at or ended_at, asked_at=0)
    nothing = {"left": "nothing", "backups": tell.backups(aws, lowered.clusters)}
    put_facts({"run": record.run, **nothing, "cost": cents(bill.so_far(record, aws.now))}, form)


def _uri(record: Record, module: Path, pin_file: Path, token_label: str) -> str:
    """The run's cluster as an HSM. A trial with one HSM may keep its keys in one: they die with it anyway."""
    config = {
        "region": record.region,
        "cluster_id": record.cluster,
        "pin_source": pin_file.absolute(),
        "module_path": module.absolute(),
        "token_label": token_label,
        "single_hsm": record.wanted.hsms == 1,
    }
    return hsm_uri("aws", config)


def _say_what_is_left(raising: Raising, cluster: Cluster, state: Path) -> None:
    if cluster.state == "ACTIVE":
        return
    for line in ACTIVATION.format(root=state / ROOT_FILE, cluster=cluster.cluster).splitlines():
        say(line)
    if raising.waits_for_activation:
        say("AWS adds the other HSMs only after that: repeat the command then")
