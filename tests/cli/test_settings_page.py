"""`docs/reference/settings.md` is the table of settings; run this file to print it anew."""

from __future__ import annotations

import sys
from pathlib import Path

from icehouse.vault.setting import VARIABLES
from icehouse.vault.settings import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
HEAD = """# Settings

A vault's settings are in `vault.toml` in its directory, or in the file that `--vault` names: a section for what stands
before the point, `name = value` for what stands after it. A relative path in them is relative to that file. An
environment variable overrides a setting for one process. This page is made from the table by which settings are read.

A setting that is not here, a value of another type or beyond the bounds, and an environment variable that begins with
`ICEHOUSE_` and is not here are refused, so that a misspelt one does not go unnoticed. (Those that Kubernetes and Docker
set for a service called `icehouse`, such as `ICEHOUSE_PORT`, and `ICEHOUSE_TEST_…` are passed over.) A whole number has
neither fraction nor exponent; `nan` and `inf` are no numbers. Text has at most 65,536 characters.

| setting | type | unit | default | bounds | what it is | variable |
|---|---|---|---|---|---|---|
"""
TYPES = {str: "text", int: "whole number", float: "number"}


def row(setting) -> str:
    default = "must be given" if setting.default is None else setting.default if setting.default != "" else "empty"
    bounds = f"{setting.bounds[0]:,} to {setting.bounds[1]:,}" if setting.bounds else ""
    cells = (
        f"`{setting.name}`",
        TYPES[setting.kind],
        setting.unit,
        default,
        bounds,
        setting.what,
        f"`{setting.variable}`",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def page() -> str:
    others = "".join(f"| `{name}` | {what} |\n" for name, what in VARIABLES.items())
    rows = "".join(map(row, TABLE.values()))
    return f"{HEAD}{rows}\nOther variables, of the command line:\n\n| variable | what it is |\n|---|---|\n{others}"


def test_the_page_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_setting_says_what_it_is_and_every_number_its_unit_and_bounds():
    for setting in TABLE.values():
        assert setting.what, setting.name
        assert (setting.kind is str) == (setting.bounds is None) == (not setting.unit), setting.name


if __name__ == "__main__":
    sys.stdout.write(page())
