#!/usr/bin/env bash
# SoftHSM 2.6.1 (Debian's softhsm2) with PyKCS11 1.5.20: a token directory that was away for a moment is away for good.
# Seen: after the directory was moved away, looked for, and moved back, no slot shows the token, and none does until C_Finalize
# and C_Initialize; then it is there, whole.
set -euo pipefail
place=$(mktemp -d); trap 'rm -rf "$place"' EXIT
module=/usr/lib/softhsm/libsofthsm2.so
test -e "$module" || { echo "needs Debian's softhsm2 2.6.1: apt-get install softhsm2"; exit 2; }
dpkg-query -W -f '${Package} ${Version}\n' softhsm2 libsofthsm2 | tee /dev/stderr | grep -q '^libsofthsm2 2.6.1'
mkdir "$place/tokens"
printf 'directories.tokendir = %s\n' "$place/tokens" >"$place/softhsm2.conf"
export SOFTHSM2_CONF=$place/softhsm2.conf
softhsm2-util --init-token --free --label one --pin 1234 --so-pin 5678 >/dev/null
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check PyKCS11==1.5.20
"$place/venv/bin/python" - "$module" "$place/tokens" <<'PY'
import os
import sys

import PyKCS11

module, tokens = sys.argv[1:]


def labels(lib):
    found = []
    for slot in lib.getSlotList(tokenPresent=True):
        try:
            found.append(lib.getTokenInfo(slot).label.strip(" \0"))
        except PyKCS11.PyKCS11Error as error:
            found.append(str(error))
    return found


lib = PyKCS11.PyKCS11Lib()
lib.load(module)
before = labels(lib)
os.rename(tokens, f"{tokens}.away")
away = labels(lib)
os.rename(f"{tokens}.away", tokens)
back = labels(lib)
lib.unload()
del lib
anew = PyKCS11.PyKCS11Lib()
anew.load(module)
print(f"before: {before}; away: {away}; back: {back}; after a new start: {labels(anew)}")
assert "one" in before and "one" not in back and "one" in labels(anew), "SoftHSM changed"
PY
