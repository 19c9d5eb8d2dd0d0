#!/usr/bin/env bash
# moto 5.2.5 with boto3 1.44.8: the state of a KMS key decides nothing.
# Seen: a disabled key encrypts, and one that is pending deletion decrypts; AWS answers DisabledException, KMSInvalidStateException.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[kms]==5.2.5' boto3==1.44.8
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x "$place/venv/bin/python" - <<'PY'
import boto3
from moto import mock_aws

with mock_aws():
    kms = boto3.client("kms", region_name="us-east-1")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=key)
    disabled = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    wrapped = kms.encrypt(KeyId=key, Plaintext=b"sixteen bytes...")["CiphertextBlob"]
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    pending = kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    opened = kms.decrypt(KeyId=key, CiphertextBlob=wrapped)["Plaintext"]
    print(f"encrypted while {disabled}, decrypted while {pending}: {opened!r}")
    assert (disabled, pending, opened) == ("Disabled", "PendingDeletion", b"sixteen bytes..."), "moto changed"
PY
