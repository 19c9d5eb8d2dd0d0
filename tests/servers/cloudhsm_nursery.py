"""Children that run `icehouse`, forked from a process that has loaded everything, so that many can be killed.

One JSON document a line on standard input; the child's id on standard output; it begins at the next line, and how it
ended is the answer to that.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

import botocore.loaders
import botocore.session

LOADER = botocore.loaders.Loader()
for service in ("sts", "cloudhsmv2", "iam", "stepfunctions", "scheduler"):
    LOADER.load_service_model(service, "service-2")
    LOADER.load_service_model(service, "endpoint-rule-set-1")
botocore.loaders.create_loader = lambda _=None: LOADER

from icehouse.cli.main import run  # noqa: E402  after its loader


def child(order: dict, begin: int) -> None:
    os.read(begin, 1)
    os.setsid()
    os.chdir(order["directory"])
    os.environ.update(order["environment"])
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 99
    try:
        code = run(order["arguments"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> None:
    from icehouse.trial_cluster import certificate  # noqa: F401, PLC0415  loads pyca
    from icehouse.vault.init import make_vault  # noqa: F401, PLC0415  loads the database

    for line in sys.stdin:
        begin, go = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(go)
            child(json.loads(line), begin)
        os.close(begin)
        print(process, flush=True)
        sys.stdin.readline()
        with suppress(BrokenPipeError):  # it was killed before it began
            os.write(go, b"!")
        os.close(go)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


main()
