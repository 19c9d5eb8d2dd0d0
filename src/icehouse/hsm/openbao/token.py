"""Who asks OpenBao: a token from a file, the environment, or an AppRole login. It is shown nowhere."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from icehouse.errors import HsmRefusedError, RequestError
from icehouse.files.secret_file import check_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.hsm.openbao.uri import OpenBaoUri

_VARIABLES = ("BAO_TOKEN", "VAULT_TOKEN")
_SECRET = re.compile(r"[\x21-\x7e]{1,4096}")
_LOGIN = "auth/approle/login"


class Token:
    """The token that one process shows, and where the next one comes from."""

    __slots__ = ("_uri", "_value")

    def __init__(self, uri: OpenBaoUri) -> None:
        self._uri = uri
        self._value = ""

    def __repr__(self) -> str:
        return "Token(redacted)"

    def value(self, log_in: Callable[[str, dict[str, str]], str]) -> str:
        """The token; where there is none yet, `log_in` gets one for an AppRole."""
        # Two threads may both get one: then one more is made than needed.
        if not self._value:
            self._value = self._fresh(log_in)
        return self._value

    def renew(self, refused: str, log_in: Callable[[str, dict[str, str]], str]) -> bool:
        """Whether there is another token than the one that was refused."""
        if self._value == refused:
            self._value = self._fresh(log_in)
        return self._value != refused

    def hint(self) -> str:
        """How a valid token is given to icehouse."""
        if self._uri.role_id is not None:
            return "is the AppRole still there, and bound to a policy with rights on the mount?"
        if self._uri.token_file is not None:
            return f"put a token that is valid into {self._uri.token_file}, or let icehouse log in with role-id="
        return f"put a token that is valid into {_VARIABLES[0]}, or let icehouse log in with role-id="

    def _fresh(self, log_in: Callable[[str, dict[str, str]], str]) -> str:
        if self._uri.role_id is not None and self._uri.secret_id_file is not None:
            secret = _read(self._uri.secret_id_file, "secret ID")
            return log_in(_LOGIN, {"role_id": self._uri.role_id, "secret_id": secret})
        if self._uri.token_file is not None:
            return _read(self._uri.token_file, "token")
        for name in _VARIABLES:
            if os.environ.get(name):
                return _checked(os.environ[name], name)
        msg = "there is no token for OpenBao"
        hint = f"name its file: token-source=file:PATH, or set {_VARIABLES[0]}, or log in: role-id=, secret-id-source="
        raise HsmRefusedError(msg, hint=hint)


def _read(path: Path, what: str) -> str:
    # An agent writes it for its group, unless told otherwise.
    check_private(path, f"{what} file", shared=True)
    try:
        # Bounded: whatever is there, a token it is not when it is long.
        with path.open("rb") as file:
            content = file.read(8192)
    except OSError as exc:
        msg = f"the {what} file {path} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    return _checked(content.decode("latin-1").strip("\r\n"), f"the {what} file {path}")


def _checked(text: str, where: str) -> str:
    if not _SECRET.fullmatch(text):
        msg = f"{where} must hold one line of at most 4,096 visible ASCII characters"
        raise RequestError(msg)
    return text
