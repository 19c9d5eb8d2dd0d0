"""Run every `icehouse plan` of the documentation again and put what it prints, and its charts, where they stand.

`python docs/rerun.py` rewrites the pages; the tests call `rerun` and compare. A page shows a command in a block of
kind `console`, behind `$`; everything beneath it in the block is what it printed.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tempfile
from pathlib import Path

import typer

from icehouse.cli.plan import register
from icehouse.cli.printer import explain
from icehouse.errors import IcehouseError

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"^```console\n\$ icehouse (plan (?:[^\n\\]|\\\n)*)\n.*?^```$", re.DOTALL | re.MULTILINE)
_CHARTS = "*.svg"


def pages() -> list[Path]:
    """The pages that show a plan."""
    return sorted(page for page in DOCS.rglob("*.md") if _BLOCK.search(page.read_text(encoding="utf-8")))


def rerun(page: Path) -> tuple[str, dict[str, bytes]]:
    """The page as it should be, and the charts that its commands made, by name."""
    with tempfile.TemporaryDirectory() as place:
        beside = Path(place)
        for own in page.parent.glob("*.toml"):
            (beside / own.name).write_bytes(own.read_bytes())
        text = _BLOCK.sub(lambda found: _printed(found[1], beside), page.read_text(encoding="utf-8"))
        return text, {chart.name: chart.read_bytes() for chart in sorted(beside.glob(_CHARTS))}


def _printed(command: str, place: Path) -> str:
    """The block of a command. It is run in this process: starting twenty of them would take most of the time."""
    app = typer.Typer()
    register(app)
    data, words = io.StringIO(), io.StringIO()
    arguments = shlex.split(command.replace("\\\n", " "))[1:]
    with contextlib.chdir(place), contextlib.redirect_stdout(data), contextlib.redirect_stderr(words):
        try:
            app(args=arguments, standalone_mode=False)
        except IcehouseError as error:
            explain(error)
    return f"```console\n$ icehouse {command}\n{data.getvalue()}{words.getvalue()}```"


def main() -> None:
    """Rewrite every page and every chart."""
    for page in pages():
        text, charts = rerun(page)
        page.write_text(text, encoding="utf-8")
        for name, content in charts.items():
            (page.parent / name).write_bytes(content)


if __name__ == "__main__":
    main()
