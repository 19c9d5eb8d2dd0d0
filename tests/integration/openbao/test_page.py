"""The how-to's policy is all that icehouse needs, and its AppRole is made as written."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing

import pytest

from icehouse.hsm import open_hsm
from icehouse.hsm.openbao.rights import NEEDED
from servers.openbao import PAGE, ROOT_TOKEN, binary, policy_of

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted({path.partition("{")[0] for path, *_ in NEEDED}))
def test_every_path_is_in_the_policy_of_the_page(path):
    assert f'"transit/{path}' in policy_of("transit", "icehouse-*")


def test_the_mount_the_policy_and_the_approle_are_made_as_written(place, tmp_path):
    blocks = [block.partition("```")[0] for block in TEXT.split("```text\n")[1:]]
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(("bao", "(umask"))]
    assert len(lines) == 6
    # The session's server has the auth method already.
    script = "\n".join(line for line in lines if "auth enable" not in line)
    script = script.replace("-path=transit ", "-path=of-the-page ").replace("/etc/icehouse/", f"{tmp_path}/")
    (tmp_path / "policy.hcl").write_text(policy_of("of-the-page", "icehouse-*"))
    (tmp_path / "bao").symlink_to(binary())
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "BAO_ADDR": f"http://127.0.0.1:{place.server.port}",
        "BAO_TOKEN": ROOT_TOKEN,
    }
    told = subprocess.run(
        ["bash", "-ec", script], check=False, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert told.returncode == 0, told.stderr
    role = told.stdout.splitlines()[-1]

    assert (tmp_path / "secret-id").stat().st_mode & 0o077 == 0
    uri = place.uri("of-the-page", token_source=None, role_id=role, secret_id_source=f"file:{tmp_path}/secret-id")
    with closing(open_hsm(uri)) as hsm:
        assert all(right.granted for right in hsm.rights())
