#!/usr/bin/env bash
# moto 5.2.5 with boto3 1.44.8: KMS Sign(MessageType=DIGEST) hashes the digest once more.
# Seen: the signature over a SHA-256 digest does not verify for that digest; it verifies for SHA-256 of the digest.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[kms]==5.2.5' boto3==1.44.8 cryptography==46.0.3
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x "$place/venv/bin/python" - <<'PY'
import hashlib

import boto3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from moto import mock_aws


def verifies(public, signature, digest):
    try:
        public.verify(signature, digest, ec.ECDSA(utils.Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


with mock_aws():
    kms = boto3.client("kms", region_name="us-east-1")
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    digest = hashlib.sha256(b"a message").digest()
    signature = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    once, twice = verifies(public, signature, digest), verifies(public, signature, hashlib.sha256(digest).digest())
    print(f"verifies over the digest: {once}; over SHA-256 of the digest: {twice}")
    assert (once, twice) == (False, True), "moto changed"
PY
