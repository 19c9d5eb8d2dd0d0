"""What the policy of whoever asks OpenBao must permit, and whether it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icehouse.hsm.openbao.wire import CorruptedError, DeniedError, stanza
from icehouse.hsm.protocol import Right

if TYPE_CHECKING:
    from icehouse.hsm.key_service.deadline import Deadline
    from icehouse.hsm.openbao.wire import Wire

_SAMPLE, _ALL = "icehouse-rights", "icehouse-*"
_ASK = "sys/capabilities-self"
NEEDED = (
    ("keys", "list"),
    ("keys/{label}", "read"),
    ("encrypt/{label}", "update"),
    ("decrypt/{label}", "update"),
    ("hmac/{label}/sha2-512", "update"),
    ("sign/{label}/sha2-256", "update"),
    ("keys/{label}", "read", "update"),
    ("keys/{label}/config", "read", "update"),
    ("keys/{label}", "read", "update", "delete"),
)
"""Every path that icehouse asks, and the capability that it takes, after those that go with it in one stanza.

The last three only make and destroy keys.
"""


def rights(wire: Wire, mount: str, deadline: Deadline) -> list[Right]:
    """Each right, as the server says of this token and a label of icehouse's."""
    paths = [f"{mount}/{path.format(label=_SAMPLE)}" for path, *_ in NEEDED]

    def read(answer: dict[str, Any]) -> dict[str, Any]:
        told = answer.get("data")
        if not isinstance(told, dict) or not told.keys() >= set(paths):
            msg = "OpenBao's list of capabilities is not of the form it should have; it is not used"
            raise CorruptedError(msg)
        return told

    try:
        told = wire.call("post", _ASK, deadline, read, {"paths": sorted(set(paths))})
    except DeniedError:
        # A token may be made without the policy that lets it ask.
        told = {}
    found = []
    for path, (form, *capabilities) in zip(paths, NEEDED, strict=True):
        granted = bool({capabilities[-1], "root"} & set(told[path])) if told else None
        action = f"{capabilities[-1]} {mount}/{form.format(label=_ALL)}"
        # In a policy, the star stands at the end or not at all.
        wide = f"{mount}/{form.partition('{label}')[0]}{_ALL if '{label}' in form else ''}"
        found.append(Right(action, granted, stanza(wide, *capabilities)))
    return found
