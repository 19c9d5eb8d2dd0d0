"""The page for an auditor of round two names functions and files that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/round-two.md").read_text(encoding="utf-8")
CORE = ROOT / "rust/core/src"
ROUND_TWO = (CORE / "round_two.rs").read_text(encoding="utf-8")
OWN = ["commit", "hedged", "binding_factors", "group_commitment", "lagrange", "sign", "sign_decoded", "check_signers"]


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_the_page_is_in_the_file_of_round_two(name):
    assert re.search(rf"`{name}`", PAGE)
    assert re.search(rf"^(pub(\(crate\))? )?fn {name}[<(]", ROUND_TWO, re.MULTILINE)


def test_the_page_leaves_out_no_step_that_is_public():
    public = set(re.findall(r"^pub(?:\(crate\))? fn (\w+)", ROUND_TWO, re.MULTILINE))

    assert public - {"cosign"} <= set(OWN)


def test_every_file_of_the_page_is_there():
    named = set(re.findall(r"`((?:rust|tests)/[\w./]+)`", PAGE))

    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert "rust/core/src/round_two.rs" in named


def test_what_the_page_calls_a_method_of_the_suite_is_one():
    suite = (CORE / "suite.rs").read_text(encoding="utf-8")

    assert {name for name in re.findall(r"`Suite::(\w+)`", PAGE) if f"fn {name}" not in suite} == set()
