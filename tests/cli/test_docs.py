"""Code in the documents runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from executable import ICEHOUSE

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if found == language]


def run_in_shell(shell, code: str):
    shell.environment["PATH"] = f"{ICEHOUSE.parent}:{shell.variables['PATH']}"
    shell.hidden |= {"ICEHOUSE_VAULT", "ICEHOUSE_PASSPHRASE"}
    for variable in re.findall(r"\b(ICEHOUSE_\w+)=", code):
        shell.hidden.discard(variable)
    process = shell.launch("bash", "-euo", "pipefail", "-c", code)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def test_the_readme_starts_with_what_the_makefile_has():
    first, _ = blocks("README.md", "sh")

    assert first.startswith("make demo ")
    assert re.search(r"^demo:.*\n\t\$\(BIN\)/icehouse demo$", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readmes_python_runs(empty):
    (empty.directory / "example.py").write_text(blocks("README.md", "python")[0])
    done = empty.script("example.py")

    assert (done.code, done.out) == (0, "2 True\n")


def test_the_readmes_commands_run(empty):
    code, out, err = run_in_shell(empty, blocks("README.md", "sh")[1])

    assert code == 0, err
    assert re.search(r"^[0-9a-f]{128}$", out, re.MULTILINE)


def test_the_readmes_first_screen_is_one():
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert text[: text.index("## What it is")].count("\n") <= 45


PAGES = (
    "campaigns.md",
    "choose-a-custody.md",
    "destroy-a-user.md",
    "fall-back-to-software.md",
    "move-to-another-hsm.md",
    "rebuild-a-vault.md",
)


@pytest.mark.parametrize("page", ["docs/howto/first-vault.md"])
def test_a_how_to_runs_from_top_to_bottom(empty, page):
    code, out, err = run_in_shell(empty, "\n".join(blocks(page, "sh")))

    assert code == 0, err
    assert "the signature is valid" in err
    assert re.search("^findings +0$", out, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_how_to_of_upkeep_runs(empty, page):
    code, _, err = run_in_shell(empty, "\n".join(blocks(f"docs/howto/{page}", "sh")))

    assert code == 0, err
    assert "error" not in err


def test_every_file_that_a_page_links_to_is_there():
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]

        assert missing == [], page
