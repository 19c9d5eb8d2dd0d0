#!/usr/bin/env bash
# google-cloud-kms 3.18.0: whom nobody tells otherwise, a dead endpoint is hidden for most of a minute.
# Seen: against a closed port on this machine `get_crypto_key` with the client's defaults raises after more than 30 seconds;
# with retry=None and a timeout the same call is told within 5.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check google-cloud-kms==3.18.0
"$place/venv/bin/python" - <<'PY'
import socket
from time import monotonic

import grpc
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.cloud.kms_v1 import KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    port = taken.getsockname()[1]
transport = KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}"))
client = KeyManagementServiceClient(transport=transport)
name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


def seconds(**options):
    begun = monotonic()
    try:
        client.get_crypto_key(name=name, **options)
    except (GoogleAPICallError, RetryError) as error:
        print(f"{options or 'defaults'}: {type(error).__name__} after {monotonic() - begun:.1f} s")
    return monotonic() - begun


told, hidden = seconds(retry=None, timeout=5.0), seconds()
assert told < 6 and hidden > 30, "google-cloud-kms changed"
PY
