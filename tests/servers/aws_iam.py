"""IAM, which is one for all regions: roles, who may take them, and what they may do."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from servers.aws_clock import ApiError

if TYPE_CHECKING:
    from servers.aws_clock import Clock

ROLE_KNOWN = 40
"""Seconds until other services know a new role."""


@dataclass
class Role:
    trust: dict[str, Any]
    tags: list[dict[str, str]]
    known_at: float
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def allows(self, action: str, resource: str) -> bool:
        """Whether it may do this to that; an action without resource types is asked for with the resource `*`."""
        statements = [each for policy in self.policies.values() for each in _list(policy["Statement"])]
        return any(
            each["Effect"] == "Allow"
            and any(fnmatch.fnmatch(action, name) for name in _list(each["Action"]))
            and any(fnmatch.fnmatch(resource, name) for name in _list(each["Resource"]))
            for each in statements
        )

    def trusts(self, service: str, source: str, account: str) -> bool:
        """Whether a service may take it for a source in an account."""
        facts = {"aws:SourceArn": source, "aws:SourceAccount": account}
        return any(
            service in _list(each["Principal"]["Service"])
            and all(
                fnmatch.fnmatchcase(facts[key], value) if operator == "ArnLike" else facts[key] == value
                for operator, rules in each.get("Condition", {}).items()
                for key, value in rules.items()
            )
            for each in _list(self.trust["Statement"])
        )


class Iam:
    """The service."""

    def __init__(self, clock: Clock, account: str) -> None:
        self.clock, self.account = clock, account
        self.roles: dict[str, Role] = {}
        self.deleted: list[tuple[str, dict[str, str]]] = []

    def create_role(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["RoleName"]
        if name in self.roles:
            raise ApiError("EntityAlreadyExists", f"there is a role {name}", 409)
        trust = json.loads(asked["AssumeRolePolicyDocument"])
        self.roles[name] = Role(trust, asked.get("Tags", []), self.clock.now + ROLE_KNOWN)
        return {"Role": self._shown(name)}

    def get_role(self, asked: dict[str, Any]) -> dict[str, Any]:
        role = self._role(asked)
        document = json.dumps(role.trust)
        return {"Role": self._shown(asked["RoleName"]) | {"AssumeRolePolicyDocument": document, "Tags": role.tags}}

    def put_role_policy(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._role(asked).policies[asked["PolicyName"]] = json.loads(asked["PolicyDocument"])
        return {}

    def get_role_policy(self, asked: dict[str, Any]) -> dict[str, Any]:
        document = self._role(asked).policies.get(asked["PolicyName"])
        if document is None:
            raise ApiError("NoSuchEntity", "there is no such policy", 404)
        return {name: asked[name] for name in ("RoleName", "PolicyName")} | {"PolicyDocument": json.dumps(document)}

    def delete_role_policy(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._role(asked).policies.pop(asked["PolicyName"], None) is None:
            raise ApiError("NoSuchEntity", "there is no such policy", 404)
        return {}

    def delete_role(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._role(asked).policies:
            raise ApiError("DeleteConflict", "the role has policies", 409)
        tags = self.roles.pop(asked["RoleName"]).tags
        self.deleted.append((asked["RoleName"], {tag["Key"]: tag["Value"] for tag in tags}))
        return {}

    def assumed(self, arn: str, service: str, source: str) -> Role | None:
        """The role that a service takes, if it is known yet and trusts it."""
        role = self.roles.get(arn.rpartition("/")[2])
        if role is None or role.known_at > self.clock.now or not role.trusts(service, source, self.account):
            return None
        return role

    def _role(self, asked: dict[str, Any]) -> Role:
        if asked["RoleName"] not in self.roles:
            raise ApiError("NoSuchEntity", f"there is no role {asked['RoleName']}", 404)
        return self.roles[asked["RoleName"]]

    def _shown(self, name: str) -> dict[str, Any]:
        made = datetime.fromtimestamp(self.clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        arn = f"arn:aws:iam::{self.account}:role/{name}"
        return {"Path": "/", "RoleName": name, "RoleId": "AROA0000000000000000", "Arn": arn, "CreateDate": made}


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]
