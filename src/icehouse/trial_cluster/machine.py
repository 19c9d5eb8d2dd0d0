"""The state machine that deletes a run's cluster, in the Amazon States Language.

It deletes the HSMs, tries to delete the cluster, waits, and looks again, until the cluster is gone: an HSM that was
made in between is found at the next look, and a cluster that still has one is not deleted by AWS. An execution has at
most 25,000 events (AWS Step Functions, service quotas), so after some looks it hands on to another one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icehouse.trial_cluster.record import Record

PAUSE = 30
"""Seconds between two looks."""
LOOKS = 60
"""How often one execution looks. A look at the most HSMs that a cluster may have takes 330 events."""
_FIRST = "$.found.Clusters[0]"


def machine_arn(record: Record) -> str:
    """The ARN that the state machine will have."""
    return record.arn("states", f"stateMachine:{record.name}")


def execution_input(record: Record) -> str:
    """What an execution is given, for whoever looks at it."""
    return json.dumps({"run": record.run, "cluster": record.cluster})


def _task(service: str, operation: str, parameters: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    resource = f"arn:aws:states:::aws-sdk:{service}:{operation}"
    return {"Type": "Task", "Resource": resource, "Parameters": parameters, "ResultPath": None, **after}


def _or(state: str) -> dict[str, Any]:
    """Where it goes on when AWS refuses."""
    return {"Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": state}]}


def definition(record: Record) -> dict[str, Any]:
    """The state machine of a run."""
    cluster = record.cluster
    look = {"Filters": {"clusterIds": [cluster]}}
    states = {
        "Begin": {"Type": "Pass", "Result": {"looks": 0}, "Next": "Look"},
        "Look": _task(
            "cloudhsmv2", "describeClusters", look, {"ResultPath": "$.found", **_or("Wait"), "Next": "Is it there"}
        ),
        "Is it there": {
            "Type": "Choice",
            "Choices": [
                {"Variable": _FIRST, "IsPresent": False, "Next": "Gone"},
                {"Variable": f"{_FIRST}.State", "StringEquals": "DELETED", "Next": "Gone"},
                {"Variable": f"{_FIRST}.Hsms[0]", "IsPresent": True, "Next": "Delete its HSMs"},
            ],
            "Default": "Delete the cluster",
        },
        "Delete its HSMs": {
            "Type": "Map",
            "ItemsPath": f"{_FIRST}.Hsms",
            "ItemProcessor": _each_hsm(cluster),
            "ResultPath": None,
            "Next": "Delete the cluster",
        },
        # Refused while there are HSMs; then the next look decides again.
        "Delete the cluster": _task(
            "cloudhsmv2", "deleteCluster", {"ClusterId": cluster}, {**_or("Wait"), "Next": "Wait"}
        ),
        **_again(record),
        "Gone": {"Type": "Succeed"},
    }
    return {"Comment": f"Deletes {cluster} of run {record.run}", "StartAt": "Begin", "States": states}


def _each_hsm(cluster: str) -> dict[str, Any]:
    """Deleting one HSM; a refusal leaves it to the next look."""
    delete_hsm = {"ClusterId": cluster, "HsmId.$": "$.HsmId"}
    return {
        "StartAt": "Is it going",
        "States": {
            "Is it going": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.State", "StringEquals": state, "Next": "Leave it"}
                    for state in ("DELETE_IN_PROGRESS", "DELETED")
                ],
                "Default": "Delete the HSM",
            },
            "Delete the HSM": _task("cloudhsmv2", "deleteHsm", delete_hsm, {**_or("Leave it"), "End": True}),
            "Leave it": {"Type": "Pass", "End": True},
        },
    }


def _again(record: Record) -> dict[str, Any]:
    """Waiting, and another look: in this execution, or in the one that it hands on to."""
    another = {"StateMachineArn": machine_arn(record), "Input": execution_input(record)}
    return {
        "Wait": {"Type": "Wait", "Seconds": PAUSE, "Next": "Count"},
        "Count": {
            "Type": "Pass",
            "Parameters": {"looks.$": "States.MathAdd($.looks, 1)"},
            "Next": "Has it looked often",
        },
        "Has it looked often": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.looks", "NumericLessThan": LOOKS, "Next": "Look"}],
            "Default": "Hand on",
        },
        "Hand on": _task("sfn", "startExecution", another, {**_or("Begin"), "End": True}),
    }
