"""Who icehouse is to AWS: profile, credentials, role, account and region, and a client of KMS made of these."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore import exceptions as aws
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.loaders import create_loader

from icehouse.errors import HsmRefusedError, RequestError

if TYPE_CHECKING:
    from icehouse.hsm.awskms.uri import AwsKmsUri

_MODELS = create_loader()
"""The description of AWS's services: read once, and before any deadline begins."""
_MODELS.load_service_model("kms", "service-2")
_MODELS.load_service_model("kms", "endpoint-rule-set-1")
for _part in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
    _MODELS.load_data(_part)
_ASSUMED = "icehouse"
"""The name of the session in the role, as CloudTrail shows it."""


@dataclass(frozen=True, slots=True)
class _Assumed:
    """The only credentials of a session: those of a role."""

    credentials: Any

    def load_credentials(self) -> Any:  # noqa: ANN401
        return self.credentials


def connected(uri: AwsKmsUri) -> Any:  # noqa: ANN401  boto3 makes its clients' classes as it runs
    """A client of KMS with credentials that are there. Raises boto's errors, and icehouse's own for a wrong URI."""
    core = _session(uri)
    region = _region(core, uri)
    config = _config(uri)
    # Where one local server stands in for AWS, it does so for the tokens too.
    where = {"endpoint_url": uri.url} if uri.insecure else {}
    tokens = partial(core.create_client, "sts", region_name=region, config=config, **where)
    credentials = core.get_credentials()
    if credentials is None:
        raise aws.NoCredentialsError
    credentials.get_frozen_credentials()
    if uri.role:
        core = _in_role(uri, credentials, tokens)
    elif uri.account:
        _check_account(_over_tls(tokens(), uri).get_caller_identity(), uri.account)
    session = boto3.session.Session(botocore_session=core)
    return _over_tls(session.client("kms", region_name=region, endpoint_url=uri.url, config=config), uri)


def _over_tls(client: Any, uri: AwsKmsUri) -> Any:  # noqa: ANN401
    """The client, unless the environment sends it where data keys and tokens would cross the network in the clear."""
    if not uri.insecure and not client.meta.endpoint_url.startswith("https://"):
        msg = f"an endpoint of AWS must be https, not {client.meta.endpoint_url}"
        raise RequestError(msg, hint="AWS_ENDPOINT_URL or a profile's endpoint_url names it")
    return client


def _session(uri: AwsKmsUri) -> Any:  # noqa: ANN401
    core = botocore.session.Session(profile=uri.profile)
    core.register_component("data_loader", _MODELS)
    try:
        core.get_scoped_config()
    except aws.ProfileNotFound as exc:
        raise RequestError(str(exc), hint="'aws configure list-profiles' lists those there are") from exc
    return core


def _region(core: Any, uri: AwsKmsUri) -> str:  # noqa: ANN401
    # boto itself reads AWS_DEFAULT_REGION only, unlike every other client of AWS.
    region = uri.region or os.environ.get("AWS_REGION") or core.get_config_variable("region")
    if not region:
        msg = "no AWS region was named"
        raise RequestError(msg, hint="name it in the URI, awskms://eu-central-1, or in AWS_REGION")
    try:
        core.get_partition_for_region(region)
    except aws.UnknownRegionError as exc:
        msg = f"AWS has no region {region!r}"
        raise RequestError(msg, hint="a region reads like eu-central-1") from exc
    return str(region)


def _config(uri: AwsKmsUri) -> Any:  # noqa: ANN401
    return Config(
        # Repeated by icehouse, within its deadline. botocore's own repetitions would hide a dead endpoint.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # A call that was given up ends by these.
        connect_timeout=max(0.5, uri.deadline / 2),
        read_timeout=max(0.5, uri.deadline),
        max_pool_connections=uri.concurrency,
        tcp_keepalive=True,
    )


def _in_role(uri: AwsKmsUri, credentials: Any, tokens: Any) -> Any:  # noqa: ANN401
    def client(_service: str, **keys: Any) -> Any:  # noqa: ANN401
        return _over_tls(tokens(**keys), uri)

    extra = {"RoleSessionName": _ASSUMED}
    fetcher = AssumeRoleCredentialFetcher(client, credentials, uri.role, extra_args=extra)
    assumed = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    assumed.get_frozen_credentials()
    core = _session(uri)
    core.register_component("credential_provider", _Assumed(assumed))
    return core


def _check_account(identity: dict[str, Any], wanted: str) -> None:
    if identity.get("Account") != wanted:
        msg = f"these credentials are of the AWS account {identity.get('Account')}, not {wanted}"
        raise HsmRefusedError(msg, hint="name another profile=, or a role= in that account")
