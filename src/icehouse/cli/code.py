"""`icehouse users code`: mint an enrolment token, printed, or in a file of its own that nobody else reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from icehouse.cli.options import FormatOption, VaultOption, named
from icehouse.cli.printer import Format, put, put_facts, say
from icehouse.errors import ConflictError, RequestError, StoreError
from icehouse.files import durable_file
from icehouse.service import FrostService

_OutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="A new file for the token, which only its owner can read."),
]


def code(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user.")],
    *,
    output: _OutputOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Mint an enrolment token to hand to the user; earlier ones are void."""
    with FrostService.open(named(vault)) as service:
        if output is not None:
            _check_free(output)
        token = service.enrolment_code(user)
    if output is not None:
        _keep(output, token)
        if form is Format.JSON:
            put_facts({"user": user, "key": token.partition(".")[0], "file": str(output)}, form)
        else:
            say(f"the token of {user!r} is in {output}")
    elif form is Format.JSON:
        put_facts({"user": user, "key": token.partition(".")[0], "token": token}, form)
    else:
        put(token)


def _check_free(output: Path) -> None:
    """Refuse a file that cannot be made, before a code is minted and earlier ones are void."""
    if os.path.lexists(output):
        msg = f"{output} exists already, and nothing is ever overwritten"
        raise ConflictError(msg, hint="choose another file")
    if not os.access(output.parent, os.W_OK | os.X_OK):
        msg = f"{output} cannot be written: {output.parent} is no directory that this user may write"
        raise RequestError(msg, hint="choose another file, or mend the permissions")


def _keep(output: Path, token: str) -> None:
    try:
        durable_file.create(output, f"{token}\n".encode())
    except OSError as exc:
        msg = f"{output} cannot be written: {exc.strerror}"
        raise StoreError(msg, hint="earlier codes of the user are void: mint another one") from exc
