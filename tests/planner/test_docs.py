"""The documentation shows what its commands print, and the charts they draw."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("rerun", ROOT / "docs" / "rerun.py")
rerun = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rerun)

PAGES = rerun.pages()


def test_the_pages_that_show_plans_are_found():
    assert {page.name for page in PAGES} >= {"plan-costs.md", "costs.md", "choose-an-hsm.md"}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_page_shows_what_its_commands_print_and_the_charts_they_draw(page):
    text, charts = rerun.rerun(page)

    assert text == page.read_text(encoding="utf-8")
    assert charts == {path.name: path.read_bytes() for path in page.parent.glob("*.svg") if path.name in text}
