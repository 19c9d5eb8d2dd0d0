"""From `create_hsm_frost`'s provider names and configuration to an HSM's URI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from icehouse import arguments
from icehouse.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_FALLBACK = {"path": "fallback_path", "pin_source": "fallback_pin_source"}
CLOUDHSM_MODULE = "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so"
CLOUDHSM_TOKEN = "hsm1"  # noqa: S105  a token, not a secret
_AWS_OPTIONS = {"module_path", "token_label", "endpoint", "single_hsm"}
_PROFILE = {"latency", "rate_limit", "capacity"}
_AWS_KMS_OPTIONS = {
    "region",
    "endpoint",
    "insecure",
    "deadline",
    "concurrency",
    "profile",
    "role",
    "account",
    "prefix",
    "deletion_days",
}
_OPENBAO_OPTIONS = {
    "namespace",
    "token_source",
    "role_id",
    "secret_id_source",
    "ca",
    "insecure",
    "deadline",
    "concurrency",
}
_GOOGLE_OPTIONS = {"endpoint", "insecure", "deadline", "concurrency"}


def hsm_uri(provider: str, config: Mapping[str, Any]) -> str:
    """The URI of a provider's HSM. Raises `RequestError` for an unknown provider or setting."""
    maker = _MAKERS.get(arguments.text(provider, "hsm_provider"))
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
    place = {"path", "pin_source"}
    _check(config, place | {"faults"} | _PROFILE)
    if len(place & config.keys()) == 1:
        msg = "a simulated HSM in a file needs both path and pin_source"
        raise RequestError(msg)
    faults = arguments.mapping(config.get("faults", {}), "faults")
    query = [f"pin-source=file:{quote(str(config['pin_source']))}"] if "path" in config else []
    query += [f"{name.replace('_', '-')}={quote(str(config[name]))}" for name in sorted(_PROFILE & config.keys())]
    query += [f"fault={number}:{quote(str(fault), safe=':')}" for number, fault in faults.items()]
    return f"simulated:{quote(str(config.get('path', '')))}{'?' if query else ''}{'&'.join(query)}"


def _pkcs11(config: Mapping[str, Any]) -> str:
    required = {"module_path", "token_label", "pin_source"}
    _check(config, required)
    missing = sorted(required - config.keys())
    if missing:
        msg = f"the provider pkcs11 needs {', '.join(missing)} in config"
        raise RequestError(msg)
    label, module, pin = (quote(str(config[name]), safe="/") for name in ("token_label", "module_path", "pin_source"))
    return f"pkcs11:token={label.replace('/', '%2F')}?module-path={module}&pin-source=file:{pin}"


def _aws(config: Mapping[str, Any]) -> str:
    required = {"region", "cluster_id", "pin_source"}
    _check(config, required | _AWS_OPTIONS)
    missing = sorted(required - config.keys())
    if missing:
        msg = f"the provider aws needs {', '.join(missing)} in config"
        raise RequestError(msg)
    if not isinstance(config.get("single_hsm", False), bool):
        msg = f"single_hsm must be True or False, not {config['single_hsm']!r}"
        raise RequestError(msg)
    uri = _pkcs11(
        {
            "module_path": config.get("module_path", CLOUDHSM_MODULE),
            "token_label": config.get("token_label", CLOUDHSM_TOKEN),
            "pin_source": config["pin_source"],
        }
    )
    cluster, region = (quote(str(config[name]), safe="") for name in ("cluster_id", "region"))
    uri += f"&profile=cloudhsm&cluster-id={cluster}&region={region}"
    if "endpoint" in config:
        uri += f"&endpoint={quote(str(config['endpoint']), safe=':/[]')}"
    return f"{uri}&single-hsm=1" if config.get("single_hsm") else uri


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


def _aws_kms(config: Mapping[str, Any]) -> str:
    _check(config, _AWS_KMS_OPTIONS)
    region = quote(str(config.get("region", "")), safe="")
    options = [
        f"{name.replace('_', '-')}={quote(str(config[name]), safe=':[]/')}"
        for name in sorted(config.keys() - {"region"})
    ]
    query = f"?{'&'.join(options)}" if options else ""
    return f"awskms://{region}{query}"


def _openbao(config: Mapping[str, Any]) -> str:
    _check(config, {"address", "mount"} | _OPENBAO_OPTIONS)
    if "address" not in config:
        msg = "the provider openbao needs address in config: HOST or HOST:PORT"
        raise RequestError(msg)
    address = quote(str(config["address"]), safe=":[]")
    mount = quote(str(config.get("mount", "transit")), safe="/")
    options = []
    for name in sorted(_OPENBAO_OPTIONS & config.keys()):
        # A bare path is meant as a file, as with the other providers.
        kind = "file:" if name.endswith("_source") and not str(config[name]).startswith("file:") else ""
        options.append(f"{name.replace('_', '-')}={kind}{quote(str(config[name]), safe='/:')}")
    return f"openbao://{address}/{mount}" + (f"?{'&'.join(options)}" if options else "")


def _check(config: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(config.keys() - known)
    if unknown:
        msg = f"config has no setting {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        raise RequestError(msg)


_MAKERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "simulated": _simulated,
    "pkcs11": _pkcs11,
    "google": _google,
    "aws": _aws,
    "aws-kms": _aws_kms,
    "openbao": _openbao,
}
