"""One module writes files of ours, and one locks them; whoever does it by himself is named here, with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import icehouse

SOURCES = Path(icehouse.__file__).parent
WRITING = re.compile(
    r"\bfcntl\b|\bO_CREAT\b|os\.(fsync|link|replace|rename)\(|\.(write_text|write_bytes|rename|hardlink_to|touch)\("
    r"|\bopen\([^)]*[\"'](?:[wax]b?|[wax]?b?\+)[\"']"
)
OTHERS = {
    "files/durable_file.py": "writes",
    "files/file_lock.py": "locks",
    "cli/plan.py": "a chart is the user's own file: new, and readable by whom his umask says",
}


def test_no_other_module_writes_or_locks_files():
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if WRITING.search(path.read_text(encoding="utf-8"))
    }

    assert found == set(OTHERS)
