"""`openbao://` URIs: a transit mount of OpenBao or Vault, who asks it, and how to reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from icehouse.errors import RequestError
from icehouse.hsm.uri import address, calls_at_once, decoded, insecure, pairs, seconds, single

QUERY = frozenset(
    {"namespace", "token-source", "role-id", "secret-id-source", "ca", "insecure", "deadline", "concurrency"}
)
_FORM = "openbao://HOST[:PORT]/[MOUNT]"
_PORT = 8200
_PLACE = re.compile(r"//(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(?P<port>:[0-9]{1,5})?(?P<path>/.*)?")
_PATH = re.compile(r"[A-Za-z0-9_.-]{1,128}(?:/[A-Za-z0-9_.-]{1,128}){0,7}")
_ROLE = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class OpenBaoUri:
    """What an `openbao://` URI says. `deadline` is in seconds for one operation, `concurrency` in calls at once."""

    endpoint: str
    mount: str = "transit"
    namespace: str | None = None
    token_file: Path | None = None
    role_id: str | None = None
    secret_id_file: Path | None = None
    ca: Path | None = None
    insecure: bool = False
    deadline: float = 5.0
    concurrency: int = 16

    @classmethod
    def parse(cls, uri: str) -> OpenBaoUri:
        """Parse `openbao://HOST:PORT/MOUNT?token-source=file:PATH&deadline=5`."""
        place, _, query = uri.removeprefix("openbao:").partition("?")
        found = _PLACE.fullmatch(place)
        if found is None:
            # Not what was found: whoever gets the form wrong may have put a token into it.
            msg = f"an OpenBao URI must read {_FORM}"
            raise RequestError(msg)
        endpoint = address(f"{found['host']}{found['port'] or f':{_PORT}'}")
        values = single(pairs(query, "&"), QUERY)
        role, secret = values.get("role-id"), _file(values, "secret-id-source")
        _check_role(role, secret, values)
        return cls(
            endpoint=endpoint,
            mount=_path("the mount", decoded((found["path"] or "").strip("/"), "the mount") or "transit"),
            namespace=_path("namespace", values["namespace"].strip("/")) if "namespace" in values else None,
            token_file=_file(values, "token-source"),
            role_id=role,
            secret_id_file=secret,
            ca=Path(values["ca"]) if "ca" in values else None,
            insecure=insecure(values.get("insecure", "0"), endpoint),
            deadline=seconds(values.get("deadline", "5")),
            concurrency=calls_at_once(values.get("concurrency", "16")),
        )

    @property
    def address(self) -> str:
        """Where the API is, without a slash at the end."""
        return f"{'http' if self.insecure else 'https'}://{self.endpoint}"


def _path(what: str, text: str) -> str:
    if not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        msg = f"{what} of an OpenBao URI must be names of letters, digits, '.', '_', '-' with '/' between, not {text!r}"
        raise RequestError(msg)
    return text


def _file(values: dict[str, str], name: str) -> Path | None:
    source = values.get(name)
    if source is None:
        return None
    path = source.removeprefix("file:")
    if path == source or not path or (path.startswith("//") and not path.startswith("///")):
        # The value itself may be the token.
        msg = f"{name} must name a file on this machine: file:/path or file:///path"
        raise RequestError(msg)
    return Path(path.removeprefix("//"))


def _check_role(role: str | None, secret: Path | None, values: dict[str, str]) -> None:
    if (role is None) != (secret is None):
        msg = "an AppRole login needs both role-id and secret-id-source"
        raise RequestError(msg)
    if role is not None and "token-source" in values:
        msg = "an OpenBao URI must name either token-source or role-id, not both"
        raise RequestError(msg)
    if role is not None and not _ROLE.fullmatch(role):
        msg = "role-id must be 1 to 256 visible characters"
        raise RequestError(msg)
