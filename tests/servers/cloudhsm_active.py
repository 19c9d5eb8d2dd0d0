"""AWS's control plane on loopback with one active cluster of two HSMs, and credentials for it in the environment."""

from __future__ import annotations

import os

from servers.aws import REGION, World
from servers.cloudhsm import Hsm
from servers.cloudhsm_trial import OWNER

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": OWNER,
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class ActiveCluster:
    """What `create_hsm_frost("aws", …)` looks up."""

    def __init__(self) -> None:
        self._world = World(tick=0)
        self._server = self._world.serve()
        cluster = self._world.hsm.add_foreign({})
        cluster.hsms.append(Hsm("hsm-second", "us-east-1b", "subnet-0000000b", "ACTIVE", 0))
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._world.url = endpoint
        self.config = {"region": REGION, "cluster_id": cluster.cluster, "endpoint": endpoint}
        self._before = {name: os.environ.get(name) for name in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)

    def stop(self) -> None:
        """Stop it, and give the environment back."""
        self._server.shutdown()
        self._server.server_close()
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
