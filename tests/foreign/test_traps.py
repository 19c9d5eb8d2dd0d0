"""What a device writer meets in noble's FROST, run: `docs/reference/messages.md` warns of each."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def traps(node):
    script = Path(__file__).with_name("traps.js")
    done = subprocess.run([node, str(script)], check=True, capture_output=True, text=True, timeout=180)
    return json.loads(done.stdout)


def test_noble_signs_with_uncompressed_commitments(traps):
    assert traps["uncompressed"] is True


def test_noble_signs_with_commitments_that_nobody_asked_for(traps):
    assert traps["extra"] is True


def test_noble_signs_with_commitments_of_no_participant(traps):
    assert traps["stranger"] is True


def test_noble_aggregates_with_verifying_shares_that_are_no_points(traps):
    assert traps["nonsense"] is True


def test_noble_does_not_aggregate_without_verifying_shares(traps):
    assert traps["missing"] == "aggregation failed"


def test_noble_blames_the_honest_under_wrong_verifying_shares(traps):
    assert traps["blame"] == {"honest": 1, "swapped": 2}


def test_noble_refuses_spent_nonces_but_not_a_copy_of_them(traps):
    assert traps["reuse"] == {"again": "signing nonces already used", "fromCopy": True}


def test_javascript_reads_repeated_fields_and_fractions(traps):
    assert traps["json"] == 2


def test_node_reads_base64_that_the_formats_refuse(traps):
    assert traps["base64"] == [1, 1, 2]
