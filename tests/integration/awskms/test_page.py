"""The how-to's policies allow what icehouse does, each action once, and nothing more."""

from __future__ import annotations

import json
import re
from pathlib import Path

from icehouse.hsm.awskms.rights import FOUND, SERVE

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "aws-kms.md").read_text(encoding="utf-8")


def actions_of(policy) -> set[str]:
    """The actions that a policy allows."""
    found = [statement["Action"] for statement in policy["Statement"]]
    return {action for each in found for action in ([each] if isinstance(each, str) else each)}


def test_the_policies_of_the_page_allow_the_actions_that_are_used_and_no_others():
    serve, found = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))

    assert actions_of(serve) == {f"kms:{action}" for action in SERVE}
    assert actions_of(found) == {f"kms:{action}" for action in FOUND}
