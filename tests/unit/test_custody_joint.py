"""Nobody outside `icehouse.custody` asks which custody a vault is of: what differs is the custody's own to say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import icehouse
from icehouse.custody import KINDS

PACKAGE = Path(icehouse.__file__).parent
PLANNER = "the planner weighs custodies that no vault here is of"
ARGUMENT = "what `--to-custody` was given, before any vault is open"
ALLOWED = {"planner": PLANNER, "cli/rewrap.py": ARGUMENT}
CLASSES = {place.partition(":")[2] for place in KINDS.values()}


def asked_in(source):
    """The lines that compare something with a custody's name, or that mention a custody's class."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if asks(node)]


def asks(node):
    match node:
        case ast.Name(id=name) | ast.alias(name=name):
            return name in CLASSES
        case ast.Compare(left=left, comparators=others):
            compared = [left, *others]
        case ast.MatchValue(value=value):
            compared = [value]
        case _:
            return False
    return any(isinstance(leaf, ast.Constant) and leaf.value in KINDS for side in compared for leaf in ast.walk(side))


def test_nobody_outside_asks_for_a_custodys_name_or_class():
    asked = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(("custody/", *ALLOWED)):
            asked[name] = asked_in(path.read_text(encoding="utf-8"))

    assert {name: lines for name, lines in asked.items() if lines} == {}
    assert len(asked) > 150


@pytest.mark.parametrize(
    "line",
    [
        'vault.custody.name == "direct"',
        'custody not in {None, "hybrid"}',
        "from icehouse.custody import HybridCustody",
        "isinstance(vault.custody, HierarchicalCustody)",
        'match custody:\n    case "direct":\n        pass',
    ],
)
def test_a_question_for_the_name_or_class_is_seen(line):
    assert asked_in(line)
