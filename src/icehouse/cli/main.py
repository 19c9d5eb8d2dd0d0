"""Where the command line begins and ends: the table of its commands, and no traceback for a foreseeable mistake."""

from __future__ import annotations

import os
import resource
import sys
import warnings
from typing import Annotated

import typer

import icehouse
from icehouse.cli import (
    campaign,
    cloudhsm,
    demo,
    device,
    doctor,
    exchange,
    init,
    plan,
    recover,
    reseal,
    rewrap,
    rotate,
    show,
    sign,
    store,
    trim,
    users,
    worker,
)
from icehouse.cli.printer import complain_in, end_complaints, explain, log_to_stderr, put, wanted_form
from icehouse.errors import FallbackWarning
from icehouse.vault.settings import check_environment

app = typer.Typer(
    name="icehouse",
    help="FROST key shares for millions of users behind a handful of HSM keys.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("init")(init.init)
app.add_typer(users.app, name="users")
app.add_typer(device.app, name="device")
app.add_typer(cloudhsm.app, name="cloudhsm")
app.add_typer(store.app, name="store")
app.command("sign")(sign.sign)
app.command("verify")(sign.verify)
app.command("rotate")(rotate.rotate)
app.command("show")(show.show)
app.command("rewrap")(rewrap.rewrap)
app.command("reseal")(reseal.reseal)
app.add_typer(campaign.app, name="campaign")
app.command("worker")(worker.worker)
app.command("trim")(trim.trim)
app.command("recover")(recover.recover)
app.command("doctor")(doctor.doctor)
app.command("exchange")(exchange.exchange)
app.command("demo")(demo.demo)
plan.register(app)


def _show_version(asked: bool) -> None:  # noqa: FBT001  Typer's own calling
    if asked:
        put(f"icehouse {icehouse.__version__}")
        raise typer.Exit


_VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and stop.")
]


@app.callback()
def _icehouse(*, version: _VersionOption = False) -> None:
    """FROST key shares for millions of users behind a handful of HSM keys."""
    del version  # its callback did it
    check_environment()


def run(arguments: list[str]) -> int:
    """Run one command; the exit code. Whatever goes wrong is explained on standard error."""
    # A core dump would hold shares, data keys and passphrases.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a vault or a device writes is its owner's business alone.
    os.umask(0o077)
    log_to_stderr()
    complain_in(wanted_form(arguments))
    # The log says the same, in the form of everything else.
    warnings.simplefilter("ignore", FallbackWarning)
    # A name that the terminal's encoding lacks is shown in another spelling, never a reason to fail.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = app(args=arguments, prog_name="icehouse", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  this is where every error ends
        code = explain(error)
        _let_go_of_output()
    end_complaints()
    return code if isinstance(code, int) else 0


def _let_go_of_output() -> None:
    """What is still buffered for a pipe that closed, or a disk that is full, is lost; the end says no more of it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """The entry point of `icehouse`."""
    sys.exit(run(sys.argv[1:]))
