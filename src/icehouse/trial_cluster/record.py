"""What one run knows of itself, in a directory of its own: written before and after each step, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from icehouse.errors import ConflictError, RequestError, StoreError
from icehouse.files import durable_file
from icehouse.files.file_lock import FileLock
from icehouse.trial_cluster.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "cloudhsm.json"
TAG = "icehouse-cloudhsm-run"
"""The key of the tag on everything that is made. Its value is the run."""
REGION_TAG = "icehouse-cloudhsm-region"
"""On the role alone: IAM is global, and the rest of a run is in one region."""
CLUSTER_TAG = "icehouse-cloudhsm-cluster"
ENDS_TAG = "icehouse-cloudhsm-ends-at"
DOWN_TAG = "icehouse-cloudhsm-down"
"""The mark that `down` leaves on a cluster before it deletes anything: no `up` adds to it any more."""

_VERSION = 1
_NEWER = frozenset({"hsms", "gone", "asked_at", "made_at"})
"""What the record of a run that an older icehouse began lacks."""
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Record:
    """One run. Times are seconds since 1970 by AWS's clock; 0 is never."""

    run: str
    partition: str
    account: str
    region: str
    wanted: Wanted
    begun_at: int
    ends_at: int
    cluster: str = ""
    first_hsm_at: int = 0
    going_down: bool = False
    ended_at: int = 0
    hsms: tuple[str, ...] = ()
    """The HSMs that were agreed to and that AWS made, or makes."""
    gone: tuple[str, ...] = ()
    """Those that vanished, and for which others were agreed to."""
    asked_at: int = 0
    """When AWS was asked to make something; 0 once it answered."""
    made_at: int = 0
    """When AWS last said that it makes something."""

    @classmethod
    def new(cls, wanted: Wanted, where: tuple[str, str, str], now: int) -> Record:
        """A run that begins now. `where` is partition, account and region."""
        return cls(secrets.token_hex(8), *where, wanted, now, now + wanted.ttl)

    @property
    def hsms_made(self) -> int:
        """How many HSMs this run had in all."""
        return len(self.hsms) + len(self.gone)

    @property
    def name(self) -> str:
        """What the role, the state machine and the schedule are called."""
        return f"icehouse-cloudhsm-{self.run}"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"


class Notebook:
    """The directory of a run: its record, and whatever else the run keeps."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out of it."""
        try:
            durable_file.make_directory(self.directory.absolute())
            lock = FileLock.on(self.directory / _LOCK, self.directory)
        except BlockingIOError:
            msg = f"another icehouse works on {self.directory}"
            raise ConflictError(msg, hint="wait until it has ended") from None
        except OSError as exc:
            msg = f"the directory {self.directory} cannot be used: {exc.strerror}"
            raise RequestError(msg) from exc
        with lock:
            yield

    def read(self) -> Record | None:
        """The record, if there is one."""
        path = self.directory / FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, UnicodeDecodeError) as exc:
            raise _damaged(path) from exc
        if not isinstance(document, dict) or document.pop("version", None) != _VERSION:
            raise _damaged(path)
        names = {field.name for field in fields(Record)}
        if not names - _NEWER <= set(document) <= names or not isinstance(document["wanted"], dict):
            raise _damaged(path)
        try:
            lists = {name: tuple(document[name]) for name in ("hsms", "gone") if name in document}
            wanted = Wanted(**{**document["wanted"], "subnets": tuple(document["wanted"]["subnets"])})
        except (KeyError, TypeError) as exc:
            raise _damaged(path) from exc
        return Record(**{**document, **lists, "wanted": wanted})

    def write(self, record: Record) -> Record:
        """Write the record; the same record."""
        document = {"version": _VERSION, **asdict(record)}
        self.keep(FILE, json.dumps(document, indent=1).encode() + b"\n")
        return record

    def note(self, record: Record, **changes: Any) -> Record:  # noqa: ANN401  a field each
        """Write a record with changes; the changed one."""
        changed = replace(record, **changes)
        return record if changed == record else self.write(changed)

    def keep(self, name: str, content: bytes) -> None:
        """Write a file for its owner alone, whole or not at all; whoever does holds the directory."""
        path = self.directory / name
        try:
            if os.path.lexists(path):
                path = durable_file.real(path)
                durable_file.sweep(path)
                durable_file.replace(path, content, mode=durable_file.PRIVATE)
            else:
                durable_file.sweep(path)
                durable_file.create(path, content)
        except OSError as exc:
            msg = f"{self.directory / name} cannot be written: {exc.strerror}"
            raise StoreError(msg, hint="make room or mend the permissions, then repeat the command") from exc


def _damaged(path: Path) -> RequestError:
    msg = f"{path} is not the record of a cluster that this icehouse wrote"
    return RequestError(msg, hint="'icehouse cloudhsm down --run RUN' finds a run by its tag, without the file")
