"""What `make check` asks of the packages that icehouse is built from, without a network: licences, sources, doubles.

Reads `cargo metadata`, the lock files of Python and Node, and what is installed. Advisories need databases that are not
in reach everywhere: `make audit` looks at those.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
CRATES = "registry+https://github.com/rust-lang/crates.io-index"
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unicode-3.0", "Unlicense", "ZPL-2.1", "Zlib",
}  # fmt: skip
BESIDE = {"psycopg", "psycopg-pool", "psycopg-binary"}
"""LGPL-3.0: used as they come, through their public interface, and only with the extra for PostgreSQL."""
TEXTS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License": "ISC",
}
CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}
UNSAID = {"frost_rs": "measured beside icehouse in `make bench`, and no part of it"}
"""Packages of the development lock that name no licence, and why that is borne."""
TWICE = {
    "the curve crates under frost-core 3.0.0 are a generation behind those of age, hpke and the batches": {
        "base64", "block-buffer", "chacha20", "const-oid", "cpufeatures", "crypto-common", "curve25519-dalek", "digest",
        "embedded-io", "fiat-crypto", "getrandom", "rand", "rand_core", "sha2",
    },
    "macros and helpers that only build or that only other systems compile": {
        "r-efi", "rustc-hash", "self_cell", "syn", "thiserror", "thiserror-impl",
    },
}  # fmt: skip
"""Crates that are there in two versions, by the reason. Another one is a finding, and so is one that no longer is."""


def permitted(expression: str) -> bool:
    """Whether an SPDX expression leaves a choice that is allowed; `/` is the old way to write OR."""
    text = expression.replace("/", " OR ").strip()
    if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
        text = text[1:-1]
    if " AND " in text:
        return all(permitted(part) for part in text.split(" AND "))
    return any(part.strip(" ()") in ALLOWED for part in text.split(" OR "))


def crates() -> Iterator[str]:
    """What is wrong with the crates."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)["packages"]
    versions: dict[str, set[str]] = defaultdict(set)
    for package in packages:
        name = f"crate {package['name']} {package['version']}"
        versions[package["name"]].add(package["version"])
        if package["source"] not in {None, CRATES}:
            yield f"{name} comes from {package['source']}, not from crates.io"
        if not permitted(package["license"] or ""):
            yield f"{name} has the licence {package['license']!r}, which is not in the list"
    borne = set().union(*TWICE.values())
    double = {name for name, found in versions.items() if len(found) > 1}
    yield from (f"crate {name} is there twice: {', '.join(sorted(versions[name]))}" for name in sorted(double - borne))
    yield from (f"crate {name} is there once by now: take it from the list" for name in sorted(borne - double))


def licence(found: metadata.Distribution) -> str:
    """The licence that an installed package names, as an SPDX expression."""
    if expression := found.metadata.get("License-Expression"):
        return expression
    text = (found.metadata.get("License") or "").strip()
    if text in ALLOWED or text in TEXTS:
        return TEXTS.get(text, text)
    named = found.metadata.get_all("Classifier") or []
    return " OR ".join(CLASSIFIERS[each] for each in named if each in CLASSIFIERS)


def wheels() -> Iterator[str]:
    """What is wrong with the Python packages that are locked and installed."""
    locked: set[str] = set()
    for file in ("run.lock", "dev.lock"):
        text = (ROOT / "requirements" / file).read_text(encoding="utf-8").replace("\\\n", " ")
        for line in filter(lambda each: each.strip() and not each.lstrip().startswith(("#", "-c")), text.splitlines()):
            pinned = re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==\S+.*--hash=sha256:[0-9a-f]{64}", line)
            if pinned is None:
                yield f"{file}: not pinned with its hashes: {line.strip()[:60]}"
            else:
                locked.add(plain(pinned[1]))
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if plain(name) not in locked or name in UNSAID or name in BESIDE:
            continue
        if not permitted(licence(found)):
            yield f"package {name} {found.version} has the licence {licence(found)!r}, which is not in the list"


def plain(name: str) -> str:
    """A package's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def node() -> Iterator[str]:
    """What is wrong with the packages of Node."""
    tracked = subprocess.run(
        ["git", "ls-files", "*package-lock.json"], check=True, capture_output=True, cwd=ROOT, text=True
    )
    for file in tracked.stdout.split():
        packages = json.loads((ROOT / file).read_text(encoding="utf-8"))["packages"]
        for name, package in packages.items():
            if not name or package.get("link"):
                continue
            if not package.get("integrity"):
                yield f"{file}: {name} has no integrity hash"
            if not permitted(package.get("license", "")):
                yield f"{file}: {name} has the licence {package.get('license')!r}, which is not in the list"


def main() -> int:
    """Print every finding; 1 where there is one."""
    findings = [*crates(), *wheels(), *node()]
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
