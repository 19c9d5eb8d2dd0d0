"""A process of greenlets, as gunicorn's gevent workers are: each enrols, rotates, signs and creates on one vault."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402  after the patch, as an application has it
import logging  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402

from icehouse import Device, FrostService  # noqa: E402

GREENLETS = 256


def main(directory: str) -> None:
    """Do it, and say what came of it."""
    logging.disable(logging.WARNING)
    with FrostService.open(directory) as frost:
        users = [f"user-{number}" for number in range(GREENLETS)]
        frost.create_users(users)
        looked = []

        def work(user: str) -> int:
            looked.append(frost.get_shards(user))
            while len(looked) < GREENLETS:  # every greenlet has used the vault by then, and is still there
                gevent.sleep(0)
            device = Device.create(user)
            device.enrol(frost, frost.enrolment_code(user))
            gevent.sleep(0)
            device.rotate(frost)
            gevent.sleep(0)
            device.sign(frost, b"hello")
            frost.create_user_frost_shards(f"another-{user}")
            return device.epoch

        workers = [gevent.spawn(work, user) for user in users]
        gevent.joinall(workers, raise_error=True)
        print(json.dumps({"epochs": [worker.value for worker in workers], "opened": frost.check()}))  # noqa: T201


main(sys.argv[1])
