"""Many threads at once, a forked process, counts and limits."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conformance.hsm.adapters import Can
from icehouse._core import DataKey, same_secret
from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import HsmKey, KeyKind

CONTEXT = bytes(32)
THREADS = 8


def test_eight_threads_work_at_once_and_all_meet_the_lost_sessions(adapter, hsm):
    keys = {kind: hsm.create_key(f"key-{kind}", kind) for kind in KeyKind}
    mac = hsm.mac(keys["hmac"], b"message")

    def work(thread: int) -> int:
        for turn in range(6):
            secret, context = DataKey.random(), bytes([thread, turn]) * 16
            assert same_secret(hsm.unwrap(keys["aes"], hsm.wrap(keys["aes"], secret, context), context), secret)
            assert same_secret(hsm.mac(keys["hmac"], b"message"), mac)
        assert len(hsm.sign(keys["ecdsa"], bytes(32))) == 64
        return thread

    # Lost between the rounds only: SoftHSM itself crashes when sessions are closed under a thread that uses them.
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(6):
            assert list(pool.map(work, range(THREADS))) == list(range(THREADS))
            adapter.lose_session(hsm)


def test_of_threads_that_make_the_same_key_one_succeeds(hsm):
    def make(_: int) -> bool:
        try:
            hsm.create_key("contested", KeyKind.AES)
        except HsmRefusedError:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(make, range(THREADS))) == 1
    hsm.wrap(HsmKey("contested", KeyKind.AES), DataKey.random(), CONTEXT)


@pytest.mark.needs(Can.FILL_UP)
def test_threads_together_make_no_more_keys_than_fit(adapter):
    hsm = adapter.full_after(3)

    def make(number: int) -> bool:
        try:
            hsm.create_key(f"key-{number}", KeyKind.AES)
        except HsmRefusedError:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(make, range(2 * THREADS))) == 3
    assert len(hsm.keys("")) == 3


def test_a_forked_child_and_its_parent_both_go_on(adapter):
    script = Path(__file__).with_name("fork_story.py")
    told = subprocess.run(
        [sys.executable, script, adapter.uri], check=False, capture_output=True, text=True, timeout=60
    )

    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == ["grandchild", "child", "parent"]


def test_operations_are_counted_by_kind_whether_they_succeed_or_not(hsm):
    assert hsm.operations.total == 0
    key = hsm.create_key("key", KeyKind.AES)
    wrapped = hsm.wrap(key, DataKey.random(), CONTEXT)
    hsm.unwrap(key, wrapped, CONTEXT)
    for _ in range(2):
        with pytest.raises(HsmRefusedError):
            hsm.mac(key, b"")
    hsm.keys("")
    hsm.destroy_key(key)

    assert hsm.operations.by_kind() == {
        "create_key": 1,
        "destroy_key": 1,
        "keys": 1,
        "wrap": 1,
        "unwrap": 1,
        "mac": 2,
        "sign": 0,
    }
    assert hsm.operations.total == 7


@pytest.mark.needs(Can.THROTTLE)
def test_a_throttled_operation_is_unavailable_and_counted(adapter):
    hsm = adapter.slow()
    hsm.keys("")

    with pytest.raises(HsmUnavailableError, match="throttled"):
        hsm.keys("")
    assert hsm.operations.by_kind()["keys"] == 2


def test_a_module_shows_no_secret_of_its_own(hsm):
    hsm.create_key("key", KeyKind.AES)

    assert "648219" not in repr(hsm) + repr(hsm.info) + repr(hsm.operations)
    with pytest.raises(Exception, match="pickle"):
        pickle.dumps(hsm)
