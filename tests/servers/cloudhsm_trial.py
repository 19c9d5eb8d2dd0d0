"""A trial cluster in a test: what is not ours in the account, and a run that is driven within this process."""

from __future__ import annotations

import os
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from icehouse.trial_cluster import Aws, Record, Wanted
from icehouse.trial_cluster.aws import _refusal
from icehouse.trial_cluster.certificate_files import KEY_FILE
from icehouse.trial_cluster.down import lower
from icehouse.trial_cluster.record import TAG, Notebook
from icehouse.trial_cluster.up import Raising
from servers.aws import ACCOUNT, KEYS, REGION, World
from servers.aws_clock import ApiError
from servers.aws_iam import Role
from servers.aws_teardown import Group, Machine
from servers.cloudhsm import Hsm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWNER, STRANGER = "AKIAICEHOUSEOWNER000", "AKIAICEHOUSEOTHER000"
SUBNETS = ("subnet-0000000a", "subnet-0000000b")
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": OWNER,
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
WANTED = Wanted(2 * 3600, SUBNETS)
PASSPHRASE = "only for these tests"
ROOT_KEY = rsa.generate_private_key(65537, 1024).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(PASSPHRASE.encode()),
)
"""A run's root key, made once and short: hundreds of runs need not each make, and check, one of full length."""


class FOREIGN:
    """What somebody else made: a cluster with no tag, one of another run, and things by the same kinds of names."""

    @staticmethod
    def put_into(world: World) -> dict[str, Any]:
        world.hsm.add_foreign({})
        world.hsm.add_foreign({"Name": "production", TAG + "s": "0123456789abcdef"})
        world.hsm.add_foreign({TAG: "another-run"})
        tags = [{"Key": TAG, "Value": "another-run"}]
        world.teardowns.roles["icehouse-cloudhsm-another-run"] = Role({"Statement": []}, tags, 0)
        arn = "arn:aws:states:us-east-1:123456789012:stateMachine:icehouse-cloudhsm-another-run"
        world.teardowns.machines[arn] = Machine("{}", "arn", [])
        world.teardowns.groups["default"] = Group([])
        return FOREIGN.found_in(world)

    @staticmethod
    def found_in(world: World) -> dict[str, Any]:
        return deepcopy(
            {
                "clusters": list(world.hsm.clusters.values())[:3],
                "roles": world.teardowns.roles.get("icehouse-cloudhsm-another-run"),
                "machines": [each for arn, each in world.teardowns.machines.items() if arn.endswith("another-run")],
                "groups": world.teardowns.groups.get("default"),
            }
        )


class ControlPlane:
    """An account with one active cluster of two HSMs, and credentials for it in the environment until it is stopped."""

    def __init__(self) -> None:
        self.world = World(tick=0)
        self._server = self.world.serve()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cluster = self.world.hsm.add_foreign({})
        self.cluster.hsms.append(Hsm("hsm-second", "us-east-1b", "subnet-0000000b", "ACTIVE", 0))
        # Where another test server's credentials stand already, they are good here, too.
        self._set = [name for name in CREDENTIALS if name not in os.environ]
        os.environ.update((name, CREDENTIALS[name]) for name in self._set)
        KEYS.setdefault(os.environ["AWS_ACCESS_KEY_ID"], ACCOUNT)

    @property
    def config(self) -> dict[str, str]:
        """What `create_hsm_frost("aws", …)` takes to find the cluster."""
        return {"region": REGION, "cluster_id": self.cluster.cluster, "endpoint": self.url}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for name in self._set:
            os.environ.pop(name, None)


class Killed(BaseException):
    """This process ends here."""


class Place:
    """A run's directory, and the steps of its life without the command line around them."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.notebook = Notebook(directory)
        self.said: list[str] = []

    @property
    def record(self) -> Record | None:
        return self.notebook.read()

    def with_a_key(self) -> Place:
        self.notebook.directory.mkdir(parents=True, exist_ok=True)
        self.notebook.keep(KEY_FILE, ROOT_KEY)
        return self

    def up(self, wanted: Wanted = WANTED, aws: Aws | None = None) -> Raising:
        aws = aws or Aws(patience=0)
        with self.notebook.held():
            where = aws.caller()
            record = self.notebook.read() or self.notebook.write(Record.new(wanted, where, aws.now))
            raising = Raising(aws, self.notebook, record, PASSPHRASE, self.said.append)
            raising.run()
        return raising

    def down(self, aws: Aws | None = None) -> None:
        aws = aws or Aws(patience=0)
        record = self.notebook.read()
        if record is None:
            return
        with self.notebook.held():
            lower(aws, self.notebook.note(record, going_down=True), self.said.append)


def killed_at(number: int, when: str, aws: Aws | None = None) -> Aws:
    """An AWS whose n-th call is this process's last; `after` it was done, or `before`."""
    aws = aws or Aws(patience=0)
    ask: Callable[..., dict[str, Any]] = aws._ask
    count = iter(range(1_000_000))

    def dying(*arguments: Any) -> dict[str, Any]:
        last = next(count) == number
        if last and when == "before":
            raise Killed
        try:
            answer = ask(*arguments)
        finally:
            if last:
                raise Killed
        return answer

    aws._ask = dying  # type: ignore[method-assign]
    return aws


class Direct(Aws):
    """The same AWS without the wire between, for what is tried by the hundred."""

    def __init__(self, world: World, region: str = REGION) -> None:
        self.world, self.region, self.patience, self.now = world, region, 0, 0
        self._sleep = lambda _: None

    def _ask(
        self, service: str, operation: str, but: tuple[str, ...], later: tuple[str, ...], parameters: dict[str, object]
    ) -> dict[str, Any]:
        world = self.world
        world.clock.advance(world.tick)
        own = {"cloudhsmv2": "cloudhsm", "stepfunctions": "states"}.get(service, service)
        action = operation.title().replace("_", "")
        world.requests.append((own, action))
        # On the wire the name of a group has another case where it stands in the query.
        asked = parameters | ({"groupName": parameters["GroupName"]} if "GroupName" in parameters else {})
        if action == "CreateSchedule":
            del asked["groupName"]
        try:
            answer = deepcopy(world.handle(own, action, asked, ACCOUNT, self.region))
        except ApiError as error:
            if error.code in but:
                return {}
            told = {"Code": error.code, "Message": error.message}
            shown = {"Error": told, "ResponseMetadata": {"HTTPStatusCode": error.status}}
            raise _refusal((service, operation), shown, later) from error
        finally:
            self.now = int(world.clock.now)
        for each in answer.get("Clusters", ()):
            each["CreateTimestamp"] = datetime.fromtimestamp(each["CreateTimestamp"], UTC)
        return answer


def left(world: World) -> list[str]:
    """Whatever of ours is still in the account."""
    ours = [each.cluster for each in world.hsm.living[0:] if TAG in each.tags and each.tags[TAG] != "another-run"]
    hsms = [hsm.hsm for hsm in world.hsm.billed]
    roles = [name for name in world.teardowns.roles if not name.endswith("another-run")]
    machines = [arn for arn in world.teardowns.machines if not arn.endswith("another-run")]
    groups = [name for name in world.teardowns.groups if name != "default"]
    schedules = [str(key) for key in world.teardowns.schedules]
    return [*ours, *hsms, *roles, *machines, *groups, *schedules]


def never_touched_others(world: World, runs: set[str]) -> bool:
    """Whether everything that was asked to be deleted carried the tag of one of these runs."""
    return all(tags.get(TAG) in runs for _, tags in world.deleted)
