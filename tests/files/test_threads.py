"""One device in several threads: every call works, and the file is what the memory is, also after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from executable import Shell
from files.conftest import PASSPHRASE
from icehouse import Device, FrostService
from icehouse._core import Passphrase
from icehouse.errors import RequestError

DEVICES = 20
KILLS = (1, 2, 3, 5, 8, 13, 21, 34)
# Two threads sign in turns with each of a vault's devices, and are killed after a sync of a file or a directory.
SIGNING = """
import json, os, signal, sys
from threading import Thread, Barrier
from icehouse import Device, FrostService
from icehouse._core import Passphrase
home, passphrase, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
service = FrostService.open(f"{home}/vault")
device = Device.open(f"{home}/alice.device", Passphrase(passphrase))
real = os.fsync
def fsync(descriptor):
    global left
    real(descriptor)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
start, failed = Barrier(2), []
def sign():
    start.wait()
    try:
        for _ in range(6):
            service.rotate_user_frost_shards("alice")
            device.sign(service, b"text")
    except BaseException as error:
        failed.append(repr(error))
threads = [Thread(target=sign) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(failed))
"""


def test_two_threads_sign_with_every_device_although_a_rotation_is_due(service, tmp_path):
    users = [f"user-{number}" for number in range(DEVICES)]
    service.create_users(users)
    devices = [
        Device.create(user, path=tmp_path / user, passphrase=Passphrase(PASSPHRASE), work_factor=1) for user in users
    ]
    for user, device in zip(users, devices, strict=True):
        device.enrol(service, service.enrolment_code(user))
        service.rotate_user_frost_shards(user)

    def sign(device):
        return device.group, device.sign(service, b"text")

    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(sign, [device for device in devices for _ in range(2)]))

    for group, signature in signed:
        group.verify(b"text", signature)  # rotations move no key
    assert [device.epoch for device in devices] == [2] * DEVICES
    for device in devices:
        device.close()
    for user in users:
        with Device.open(tmp_path / user, Passphrase(PASSPHRASE)) as again:
            assert again.epoch == 2
    assert {path.name for path in tmp_path.iterdir()} == {*users, *(f".{user}.lock" for user in users)}


def test_threads_that_rotate_one_device_do_so_one_after_another(service, enrolled, opened):
    device = opened(enrolled)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: device.rotate(service), range(8)))
    device.close()

    assert opened(enrolled).epoch == 9


def test_a_device_is_closed_after_the_ceremony_that_another_thread_is_at(service, enrolled, opened):
    device = opened(enrolled)

    class Closing:
        """A wire on which somebody closes the device in the middle of a rotation."""

        def __init__(self):
            self.pool = ThreadPoolExecutor(1)
            self.closed = None

        def exchange(self, message):
            self.closed = self.closed or self.pool.submit(device.close)
            return service.exchange(message)

    with (wire := Closing()).pool:
        device.rotate(wire)
        wire.closed.result(60)

    assert opened(enrolled).epoch == 2


def test_a_closed_device_asks_the_vault_for_nothing(service, enrolled, opened):
    device = opened(enrolled)
    device.close()
    for act in (device.rotate, device.status, lambda wire: device.sign(wire, b"text")):
        with pytest.raises(RequestError, match="was closed"):
            act(service)

    assert opened(enrolled).epoch == 1


@pytest.mark.parametrize("after", KILLS)
def test_a_device_of_two_threads_that_are_killed_is_whole_and_signs(place, after):
    done = subprocess.run(
        [sys.executable, "-c", SIGNING, place.directory, PASSPHRASE, str(after)],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip

    assert done.returncode == -9 or json.loads(done.stdout) == [], done.stdout + done.stderr
    with (
        FrostService.open(place.directory / "vault") as vault,
        Device.open(place.directory / "alice.device", Passphrase(PASSPHRASE)) as device,
    ):
        vault.get_shards("alice")
        device.group.verify(b"text", device.sign(vault, b"text"))
    assert not [path.name for path in place.directory.iterdir() if path.name.endswith(".new")]


@pytest.fixture
def place(tmp_path) -> Shell:
    """A vault and alice's device, both in files."""
    shell = Shell(tmp_path, {"ICEHOUSE_VAULT": str(tmp_path / "vault")})
    shell.do("init")
    with FrostService.open(shell.vault) as vault:
        vault.create_users(["alice"])
        path = Path(tmp_path / "alice.device")
        with Device.create("alice", path=path, passphrase=Passphrase(PASSPHRASE), work_factor=1) as device:
            device.enrol(vault, vault.enrolment_code("alice"))
    return shell
