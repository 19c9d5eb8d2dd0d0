"""`awskms://` URIs: AWS KMS in one region of one account, and how to reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from icehouse.errors import RequestError
from icehouse.hsm.uri import address, calls_at_once, count, decoded, insecure, pairs, seconds, single

QUERY = frozenset(
    {"endpoint", "insecure", "deadline", "concurrency", "profile", "role", "account", "prefix", "deletion-days"}
)
_REGION = re.compile(r"//(?P<region>[a-z0-9-]{0,32})/?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>[0-9]{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_PROFILE = re.compile(r"[\w+=,.@:/ -]{1,128}")
# An alias has at most 256 characters, and `alias/aws/` is Amazon's own.
_PREFIX = re.compile(r"(?!aws(/|$))[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)
_MAX_PREFIX = 128
_SHORTEST_WINDOW, _LONGEST_WINDOW = 7, 30


@dataclass(frozen=True, slots=True)
class AwsKmsUri:
    """What an `awskms://` URI says. `deadline` is in seconds for one operation, `concurrency` in calls at once."""

    region: str | None = None
    endpoint: str | None = None
    insecure: bool = False
    deadline: float = 5.0
    concurrency: int = 16
    profile: str | None = None
    role: str | None = None
    account: str | None = None
    prefix: str = "icehouse"
    deletion_days: int = 30

    @classmethod
    def parse(cls, uri: str) -> AwsKmsUri:
        """Parse `awskms://REGION?role=ARN&deadline=5`; without a region, the environment names it."""
        place, _, query = uri.removeprefix("awskms:").partition("?")
        found = _REGION.fullmatch(decoded(place, "the region"))
        if found is None:
            msg = "an AWS KMS URI must read awskms://REGION, such as awskms://eu-central-1"
            raise RequestError(msg)
        values = single(pairs(query, "&"), QUERY)
        endpoint = address(values["endpoint"]) if "endpoint" in values else None
        role = _fitting("role", _ROLE, "arn:aws:iam::ACCOUNT:role/NAME", values)
        return cls(
            region=found["region"] or None,
            endpoint=endpoint,
            insecure=_insecure(values.get("insecure", "0"), endpoint),
            deadline=seconds(values.get("deadline", "5")),
            concurrency=calls_at_once(values.get("concurrency", "16")),
            profile=_fitting("profile", _PROFILE, "a profile of ~/.aws/config", values),
            role=role,
            account=_account(_fitting("account", _ACCOUNT, "12 digits", values), role),
            prefix=_prefix(values.get("prefix", "icehouse")),
            deletion_days=_window(values.get("deletion-days", "30")),
        )

    @property
    def url(self) -> str | None:
        """The endpoint's URL, where the URI names one."""
        return self.endpoint and f"{'http' if self.insecure else 'https'}://{self.endpoint}"


def _fitting(name: str, form: re.Pattern[str], words: str, values: dict[str, str]) -> str | None:
    text = values.get(name)
    if text is not None and not form.fullmatch(text):
        msg = f"{name} must be {words}, not {text[:64]!r}"
        raise RequestError(msg)
    return text


def _insecure(text: str, endpoint: str | None) -> bool:
    if text == "1" and endpoint is None:
        msg = "insecure=1 needs an endpoint on a loopback address"
        raise RequestError(msg)
    return insecure(text, endpoint or "")


def _account(account: str | None, role: str | None) -> str | None:
    """The account whose keys these are."""
    owner = role and role.split(":")[4]
    if account and owner and account != owner:
        msg = f"the role is in account {owner}, and account says {account}"
        raise RequestError(msg, hint="keys are used in the role's account; leave out account")
    return account or owner


def _prefix(text: str) -> str:
    if len(text) > _MAX_PREFIX or not _PREFIX.fullmatch(text):
        msg = f"prefix must be an alias's beginning of letters, digits, '_', '-' and '/', not {text[:64]!r}"
        raise RequestError(msg)
    return text


def _window(text: str) -> int:
    days = count("deletion-days", text)
    if not _SHORTEST_WINDOW <= days <= _LONGEST_WINDOW:
        msg = f"deletion-days must be between {_SHORTEST_WINDOW} and {_LONGEST_WINDOW}, not {days}"
        raise RequestError(msg)
    return days
