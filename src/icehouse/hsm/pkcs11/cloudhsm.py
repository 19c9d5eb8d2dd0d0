"""What AWS says of a CloudHSM cluster before its keys are used, and when new ones may be made in it."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from icehouse.errors import HsmRefusedError, HsmUnavailableError, MissingExtraError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ATTRIBUTES = frozenset({"cluster-id", "region", "endpoint", "single-hsm"})
PROFILE = "cloudhsm"
QUORUM = 2
"""How many HSMs must hold a new key, so that losing one loses no key."""
DEADLINE = 5.0
"""Seconds within which AWS must have answered."""

_TIMEOUT = 1.8
_LAST_START = DEADLINE - 2 * _TIMEOUT
_PAUSE = 0.2
_FRESH = 60.0
_CLUSTER = re.compile(r"cluster-[2-7a-zA-Z]{11,16}")
_USABLE = frozenset({"ACTIVE", "DEGRADED"})
_STRANGER = re.compile(r"Expired|MissingAuthentication|InvalidClientTokenId|UnrecognizedClient|Signature|AuthFailure")
_REFUSED = re.compile(r"AccessDenied|NotAuthorized|UnauthorizedOperation")
_PASSING = re.compile(
    r"Throttl|TooManyRequests|RequestLimit|RequestTimeout|InternalFailure|Unavailable|ServiceException"
)
_FAULT = 500
_LOG_IN = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_log = logging.getLogger("icehouse.hsm")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as AWS shows it. `active` counts the HSMs that answer."""

    state: str
    kind: str
    mode: str
    active: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """Which cluster is meant, and where to ask for it."""

    cluster: str
    region: str
    endpoint: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Lookup | None:
        """What a URI's query says of a cluster; None where it names none."""
        if "cluster-id" not in values and "region" not in values:
            if "endpoint" in values:
                msg = "endpoint= says where to ask for a cluster, and needs cluster-id= and region="
                raise RequestError(msg)
            return None
        cluster, region = values.get("cluster-id", ""), values.get("region", "")
        if not _CLUSTER.fullmatch(cluster):
            msg = f"cluster-id must read like cluster-abcdefghijk, not {cluster[:64]!r}"
            raise RequestError(msg, hint="'aws cloudhsmv2 describe-clusters' lists them")
        if not region:
            msg = "a cluster is named by both cluster-id= and region="
            raise RequestError(msg)
        return cls(cluster, region, _endpoint(values.get("endpoint")))

    def look(self) -> Cluster:
        """Ask AWS. Raises `RequestError` for a wrong cluster or region, and `HsmError` for one that cannot be used."""
        found = self._described()
        if not found:
            msg = f"there is no cluster {self.cluster} in {self.region}"
            raise RequestError(msg, hint="check cluster-id, region, and whose AWS credentials are used")
        cluster = _parsed(found[0])
        if cluster.state.endswith("_IN_PROGRESS") and not cluster.state.startswith(("CREATE", "INITIALIZE", "DELETE")):
            msg = f"the cluster {self.cluster} is {cluster.state}"
            raise HsmUnavailableError(msg, hint="AWS is changing it; try again later")
        if cluster.state not in _USABLE:
            msg = f"the cluster {self.cluster} must be ACTIVE, and it is {cluster.state}"
            raise HsmRefusedError(msg, hint="a cluster is initialised and then activated; see 'icehouse cloudhsm up'")
        if not cluster.active:
            msg = f"the cluster {self.cluster} has no active HSM"
            raise HsmUnavailableError(msg, hint="add one: aws cloudhsmv2 create-hsm; it takes minutes")
        return cluster

    def _described(self) -> list[dict[str, Any]]:
        client, begun = self._client(), time.monotonic()
        while True:
            try:
                return self._asked(client)
            except HsmUnavailableError:
                if time.monotonic() + _PAUSE - begun > _LAST_START:
                    raise
                time.sleep(_PAUSE)

    def _client(self) -> Any:  # noqa: ANN401  boto3 is optional, and so are its types
        try:
            import boto3  # noqa: PLC0415  loaded by whoever uses it
            import botocore.config  # noqa: PLC0415
            from botocore import exceptions as problems  # noqa: PLC0415
        except ImportError as exc:
            extra = "aws"
            raise MissingExtraError(extra) from exc
        try:
            session = boto3.session.Session()
        except problems.BotoCoreError as exc:
            # No call was made yet: it is this machine's configuration of AWS.
            msg = f"AWS credentials cannot be looked for: {exc}"
            raise RequestError(msg, hint=_LOG_IN) from exc
        regions = {
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("cloudhsmv2", partition)
        }
        if self.region not in regions:
            msg = f"region must be one that has CloudHSM, not {self.region[:64]!r}"
            raise RequestError(msg, hint=f"they are {', '.join(sorted(regions))}")
        once = botocore.config.Config(
            retries={"total_max_attempts": 1}, connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT
        )
        client = session.client("cloudhsmv2", region_name=self.region, endpoint_url=self.endpoint, config=once)
        # The environment, or a profile, may name one as well.
        _endpoint(client.meta.endpoint_url)
        return client

    def _asked(self, client: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        from botocore import exceptions as problems  # noqa: PLC0415

        try:
            answer = client.describe_clusters(Filters={"clusterIds": [self.cluster]})
        except problems.ClientError as exc:
            raise _refusal(exc.response) from exc
        except (
            problems.NoCredentialsError,
            problems.PartialCredentialsError,
            problems.CredentialRetrievalError,
            problems.TokenRetrievalError,
            problems.SSOError,
            problems.ConfigNotFound,
            problems.ConfigParseError,
        ) as exc:
            # An HSM that does not answer may be fallen back from; a login that has expired may not.
            msg = f"there are no AWS credentials to look up {self.cluster} with: {exc}"
            raise RequestError(msg, hint=_LOG_IN) from exc
        except problems.BotoCoreError as exc:
            msg = f"AWS does not answer in {self.region}: {exc}"
            raise HsmUnavailableError(msg, hint="check the network, and region and endpoint in the HSM's URI") from exc
        return [each for each in answer.get("Clusters", ()) if each["ClusterId"] == self.cluster]


class Quorum:
    """Whether new keys may be made: only where two HSMs hold them, unless one is said to be enough."""

    __slots__ = ("_active", "_at", "_lookup", "_single")

    def __init__(self, lookup: Lookup | None, cluster: Cluster | None, *, single: bool) -> None:
        self._lookup = lookup
        self._single = single
        self._active = cluster.active if cluster else 0
        self._at = time.monotonic()

    def check(self) -> None:
        """Raise `HsmRefusedError` unless a new key will be in two HSMs."""
        if self._single:
            return
        if self._lookup is None:
            msg = f"a key is made only where it is known that {QUORUM} HSMs will hold it"
            raise HsmRefusedError(
                msg, hint="name cluster-id= and region= in the HSM's URI, or say single-hsm=1: one HSM is enough"
            )
        if self._active < QUORUM or time.monotonic() - self._at > _FRESH:
            self._active, self._at = self._lookup.look().active, time.monotonic()
        if self._active < QUORUM:
            msg = f"a key is made only with {QUORUM} active HSMs, and {self._lookup.cluster} has {self._active}"
            raise HsmRefusedError(
                msg,
                hint="add one: aws cloudhsmv2 create-hsm; or say single-hsm=1 (single_hsm in config): one is enough",
            )


def single_hsm(values: Mapping[str, str]) -> bool:
    """Whether a URI says that one HSM is enough."""
    text = values.get("single-hsm", "0")
    if text not in {"0", "1"}:
        msg = f"single-hsm must be 0 or 1, not {text[:16]!r}"
        raise RequestError(msg)
    return text == "1"


def warn_of_availability_check(module: Path, active: int) -> None:
    """Warn where the client's key availability check makes losing one HSM of two an outage."""
    file = module.resolve().parent.parent / "etc" / "cloudhsm-pkcs11.cfg"
    try:
        checked = '"disable_key_availability_check":true' not in re.sub(r"\s", "", file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return
    if checked and active <= QUORUM:
        _log.warning(
            "CloudHSM's key availability check is on and %s active: without one of two HSMs it refuses every key; "
            "have three HSMs, or turn it off: configure-pkcs11 --disable-key-availability-check",
            "1 HSM is" if active == 1 else f"{active} HSMs are",
        )


def _parsed(found: Mapping[str, Any]) -> Cluster:
    active = sum(hsm.get("State") == "ACTIVE" for hsm in found.get("Hsms", ()))
    # hsm1.medium clusters have no mode: they are all FIPS.
    return Cluster(found["State"], found.get("HsmType", ""), found.get("Mode", "FIPS"), active)


def _refusal(response: Mapping[str, Any]) -> RequestError | HsmUnavailableError | HsmRefusedError:
    error = response.get("Error", {})
    code = error.get("Code", "")
    msg = f"AWS refused describe_clusters: {code}: {error.get('Message', '')}"
    if _STRANGER.search(code):
        return RequestError(msg, hint="the AWS credentials are not valid, or no longer")
    if _REFUSED.search(code):
        return HsmRefusedError(msg, hint="grant cloudhsm:DescribeClusters to whoever opens the HSM")
    if "InvalidRequest" in code or "Validation" in code:
        return RequestError(msg)
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _FAULT or _PASSING.search(code):
        return HsmUnavailableError(msg)
    # Whatever else AWS refuses does not pass by itself, and is no reason to fall back.
    return HsmRefusedError(msg)


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    url = urlsplit(text)
    try:
        loopback = ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if (url.scheme == "https" and url.hostname) or (url.scheme == "http" and loopback):
        return text
    msg = "endpoint must be https://HOST, or http:// on a loopback address, for tests"
    raise RequestError(msg)
