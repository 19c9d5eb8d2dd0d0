"""From `create_hsm_frost`'s provider names and configuration to an HSM's URI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_FALLBACK = {"path": "fallback_path", "pin_source": "fallback_pin_source"}
_GOOGLE_OPTIONS = {"endpoint", "insecure", "deadline", "concurrency"}


def hsm_uri(provider: str, config: Mapping[str, Any]) -> str:
    """The URI of a provider's HSM. Raises `RequestError` for an unknown provider or setting."""
    maker = _MAKERS.get(provider)
    if maker is None:
        msg = f"hsm_provider must be one of {', '.join(_MAKERS)}, not {provider!r}"
        raise RequestError(msg)
    return maker(config)


def fallback_uri(provider: str, config: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The provider's own configuration, and the URI of the module that stands in for its HSM; none for a simulated."""
    own = {name: value for name, value in config.items() if name not in _FALLBACK.values()}
    if provider == "simulated":
        return own, ""
    found = {name: config[given] for name, given in _FALLBACK.items() if given in config}
    if len(found) == 1:
        msg = f"a fallback in a file needs both {' and '.join(_FALLBACK.values())} in config"
        raise RequestError(msg)
    return own, _simulated(found)


def _simulated(config: Mapping[str, Any]) -> str:
    _check(config, {"path", "pin_source"})
    if not config:
        return "simulated:"
    if len(config) == 1:
        msg = "a simulated HSM in a file needs both path and pin_source"
        raise RequestError(msg)
    return f"simulated:{quote(str(config['path']))}?pin-source=file:{quote(str(config['pin_source']))}"


def _pkcs11(config: Mapping[str, Any]) -> str:
    required = {"module_path", "token_label", "pin_source"}
    _check(config, required)
    missing = sorted(required - config.keys())
    if missing:
        msg = f"the provider pkcs11 needs {', '.join(missing)} in config"
        raise RequestError(msg)
    label, module, pin = (quote(str(config[name]), safe="/") for name in ("token_label", "module_path", "pin_source"))
    return f"pkcs11:token={label.replace('/', '%2F')}?module-path={module}&pin-source=file:{pin}"


def _google(config: Mapping[str, Any]) -> str:
    required = {"project_id", "location", "key_ring"}
    _check(config, required | _GOOGLE_OPTIONS)
    missing = sorted(required - config.keys())
    if missing:
        msg = f"the provider google needs {', '.join(missing)} in config"
        raise RequestError(msg)
    project, location, ring = (quote(str(config[name]), safe="") for name in ("project_id", "location", "key_ring"))
    options = [f"{name}={quote(str(config[name]), safe=':[]')}" for name in sorted(_GOOGLE_OPTIONS & config.keys())]
    query = f"?{'&'.join(options)}" if options else ""
    return f"gcpkms://projects/{project}/locations/{location}/keyRings/{ring}{query}"


def _check(config: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(config.keys() - known)
    if unknown:
        msg = f"config has no setting {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        raise RequestError(msg)


_MAKERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "simulated": _simulated,
    "pkcs11": _pkcs11,
    "google": _google,
}
