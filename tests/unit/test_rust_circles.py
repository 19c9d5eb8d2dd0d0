"""The files of a Rust crate import one another in one direction: a change of one reaches those above it only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

RUST = Path(__file__).parents[2] / "rust"
PATH = re.compile(r"\bcrate::(\w+|\{)")


def files(crate):
    """The files of a crate that are not tests; `lib.rs` lists them all and is in no circle."""
    return {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted((RUST / crate / "src").glob("*.rs"))
        if not (path.stem.endswith("_tests") or path.stem in {"lib", "sample"})
    }


def imported(text):
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))
    return set(PATH.findall(code))


def reached(name, imports):
    seen, todo = set(), [name]
    while todo:
        for other in imports[todo.pop()] - seen:
            seen.add(other)
            todo.append(other)
    return seen


def circles(sources):
    """Sets of files that all import one another, directly or through others."""
    imports = {name: imported(text) & sources.keys() - {name} for name, text in sources.items()}
    reach = {name: reached(name, imports) for name in imports}
    rings = {frozenset(other for other in reach[name] if name in reach[other]) for name in imports}
    return sorted(sorted(ring) for ring in rings if ring)


def test_no_file_of_the_core_imports_itself_through_others():
    assert circles(files("core")) == []


@pytest.mark.parametrize("crate", ["pkcs11", "py"])
def test_no_more_than_two_files_of_a_crate_import_one_another(crate):
    assert [ring for ring in circles(files(crate)) if len(ring) > 2] == []


def test_every_import_within_the_core_names_a_file():
    sources = files("core")
    vague = {name: imported(text) - sources.keys() for name, text in sources.items()}

    assert {name: what for name, what in vague.items() if what} == {}


def test_a_circle_over_three_files_and_one_over_two_are_seen():
    sources = {
        "one": "use crate::two::Two;\n",
        "two": "    let third = crate::three::third();\n",
        "three": "use crate::one::One;\nuse crate::leaf;\n",
        "leaf": "// use crate::one::One;\n",
        "left": "use crate::right::Right;",
        "right": "use crate::left::{Left, Other};",
        "above": "use crate::left::Left;",
    }

    assert circles(sources) == [["left", "right"], ["one", "three", "two"]]
