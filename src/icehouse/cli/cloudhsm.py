"""`icehouse cloudhsm`: a trial cluster of AWS CloudHSM, by the hour."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icehouse.cli import five_users
from icehouse.cli.cloudhsm_report import calls, put_calls, put_runs, report
from icehouse.cli.options import FormatOption  # noqa: TC001  Typer reads it
from icehouse.cli.printer import Format, put_facts, say
from icehouse.cli.secret import key_passphrase
from icehouse.cloudhsm import Aws, Record, Wanted, bill
from icehouse.cloudhsm.certificate_files import KEY_FILE, ROOT_FILE
from icehouse.cloudhsm.cluster import of_run, tagged
from icehouse.cloudhsm.down import lower
from icehouse.cloudhsm.record import Notebook
from icehouse.cloudhsm.teardown import is_armed
from icehouse.cloudhsm.up import ACTIVATION, Raising
from icehouse.cloudhsm.wanted import MODES, TYPE, seconds
from icehouse.errors import ConflictError, RequestError
from icehouse.planner.money import cents
from icehouse.providers import CLOUDHSM_MODULE, CLOUDHSM_TOKEN, hsm_uri

if TYPE_CHECKING:
    from icehouse.cloudhsm.cluster import Cluster

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
    aws = Aws(region, patience=poll)
    if dry_run:
        put_calls(calls(wanted, aws.region), form)
        return
    notebook = Notebook(state)
    before = _record(notebook)
    record = _begun(before, wanted, _caller(aws, account), aws.now)
    _agree(record, yes=yes)
    passphrase = key_passphrase(passphrase_file, new=not (state / KEY_FILE).exists())
    with notebook.held():
        if _record(notebook) != before:
            msg = f"{state} was changed meanwhile"
            raise ConflictError(msg)
        raising = Raising(aws, notebook, record, passphrase, say)
        notebook.write(record)
        cluster = raising.run()
        put_facts(report(raising.record, cluster, aws.now, armed=is_armed(aws, raising.record)), form)
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
    record = None if run else Notebook(state).read()
    aws = Aws(region or (record.region if record else None))
    where = _caller(aws, account)
    if record is None:
        put_runs([(name, cluster) for name, cluster in tagged(aws) if run in {None, name}], form)
        return
    _check_same(record, where)
    found = _cluster(aws, record)
    put_facts(report(record, found, aws.now, armed=is_armed(aws, record)), form)


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
    record = _required(notebook)
    aws = Aws(record.region)
    _check_same(record, _caller(aws, account))
    cluster = _cluster(aws, record)
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
            "cost_at_the_end": cents(bill.at_the_end(record)),
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
    record = None if run else _required(notebook)
    aws = Aws(region or (record.region if record else None), patience=poll)
    where = _caller(aws, account)
    if record is None:
        lower(aws, _lost(str(run), where), say)
        put_facts({"run": run, "left": "nothing"}, form)
        return
    _check_same(record, where)
    with notebook.held():
        record = notebook.note(_required(notebook), going_down=True)
        lower(aws, record, say)
        record = notebook.note(record, ended_at=record.ended_at or aws.now)
    put_facts({"run": record.run, "left": "nothing", "cost": cents(bill.so_far(record, aws.now))}, form)


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


def _record(notebook: Notebook) -> Record | None:
    """The record of a run that has not ended."""
    record = notebook.read()
    return None if record and record.ended_at else record


def _required(notebook: Notebook) -> Record:
    record = notebook.read()
    if record is None:
        msg = f"there is no run in {notebook.directory}"
        raise RequestError(msg, hint="name its directory with --state; 'icehouse cloudhsm status' lists lost runs")
    return record


def _begun(record: Record | None, wanted: Wanted, where: tuple[str, str, str], now: int) -> Record:
    """The run to go on with, or a new one."""
    if record is None:
        return Record.new(wanted, where, now)
    _check_same(record, where)
    if record.going_down:
        msg = f"the run {record.run} is on its way down"
        raise ConflictError(msg, hint="finish 'icehouse cloudhsm down' first")
    if record.wanted != wanted:
        msg = f"the run {record.run} was begun with other settings: {record.wanted}"
        raise ConflictError(msg, hint="repeat them, or choose another --state")
    return record


def _caller(aws: Aws, account: str | None) -> tuple[str, str, str]:
    where = aws.caller()
    if account is not None and where[1] != account:
        msg = f"the AWS credentials must be of account {account}, and they are of {where[1]}"
        raise RequestError(msg)
    return where


def _check_same(record: Record, where: tuple[str, str, str]) -> None:
    begun = record.partition, record.account, record.region
    if begun != where:
        msg = f"the run {record.run} is of account {record.account} in {record.region}, not {where[1]} in {where[2]}"
        raise RequestError(msg)


def _cluster(aws: Aws, record: Record) -> Cluster | None:
    return next((each for each in of_run(aws, record) if each.cluster == record.cluster), None)


def _lost(run: str, where: tuple[str, str, str]) -> Record:
    """What is known of a run whose directory is lost: its name."""
    if not (len(run) == 16 and all(digit in "0123456789abcdef" for digit in run)):  # noqa: PLR2004  8 bytes
        msg = f"a run is named by 16 hexadecimal digits, not {run!r}"
        raise RequestError(msg)
    return Record(run, *where, Wanted(3600, ("subnet-00000000",), 1), 0, 0)


def _agree(record: Record, *, yes: bool) -> None:
    """Ask, unless told not to, before anything is made that is billed."""
    rate = bill.rate(record.region)
    source = rate.claim.source if rate.here else f"{rate.claim.source}; of {rate.claim.region}"
    price = f"{cents(rate.claim.value)} an hour each ({source})"
    words = f"{_count(record.wanted.hsms)} at {price}: at most {cents(bill.at_the_end(record))} until the end"
    say(words)
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


def _say_what_is_left(raising: Raising, cluster: Cluster, state: Path) -> None:
    if cluster.state == "ACTIVE":
        return
    for line in ACTIVATION.format(root=state / ROOT_FILE, cluster=cluster.cluster).splitlines():
        say(line)
    if raising.waits_for_activation:
        say("AWS adds the other HSMs only after that: repeat the command then")
