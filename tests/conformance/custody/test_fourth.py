"""A custody that icehouse does not have: one root key, no cache, a data key for each purpose. It needs no other file.

It passes the ceremonies that every custody passes; the vault's settings name it by its place.
"""
# ruff: noqa: ARG002  a custody is told more than this one needs

from __future__ import annotations

from types import MappingProxyType

import pytest

from conformance.custody.house import Arrangement
from conformance.custody.test_ceremonies import *  # noqa: F403  the same body, under one custody more
from icehouse._core import DataKey, context_digest, deal, rotate
from icehouse.custody import Drawn, OpenKey, Verb
from icehouse.custody.refusal import Refusal
from icehouse.errors import IcehouseError, SealError
from icehouse.hsm import KeyKind
from icehouse.model import DEVICE_NUMBER, SERVER_NUMBER, Purpose, Role, Sealed, WrappedKey

PLACE = "conformance.custody.test_fourth:OneKeyCustody"
pytestmark = pytest.mark.under(Arrangement(PLACE))


class OneKeyCustody:
    """One `kek` wraps every data key; each use of one asks the HSM."""

    name = PLACE
    roles = (Role.KEK,)
    refuses = MappingProxyType(
        dict.fromkeys((Verb.REBUILD, Verb.CONVERT, Verb.SHARE_NODES), Refusal("{name} has random shares"))
        | {
            Verb.FALL_BACK: Refusal("{name} waits for its HSM", "leave the fallback out"),
            Verb.SPLIT_CLAIM: Refusal("{name} has one root key"),
        }
    )
    users_own = False
    pages_together = 2
    data_keys_per_page = 10
    converts_to = ""
    is_converted = False

    def __init__(self, means):
        self.roots = means.roots
        self._means = means

    @classmethod
    def over(cls, means):
        return cls(means)

    @property
    def hsm(self):
        return self.roots.main

    def in_software(self, key=None):
        return False

    def root_key(self, purpose, key, *, software=False):
        return self._means.record.current(Role.KEK).label

    def nodes(self, users):
        return None

    def deal(self, user, path):
        return deal(path[0], path[2], path[3])

    def is_outdated(self, key):
        return False

    # Data keys

    def _context(self, wrapped):
        return context_digest("data-key", [self._means.record.vault_id, *wrapped])

    def wrap(self, number, purpose, root_key, key):
        context = self._context((number, str(purpose), root_key))
        wrapped = self.roots.use(root_key, KeyKind.AES, lambda hsm, root: hsm.wrap(root, key, context))
        return WrappedKey(number, purpose, root_key, wrapped)

    def unwrap(self, wrapped):
        context = self._context((wrapped.number, str(wrapped.purpose), wrapped.root_key))
        return self.roots.use(
            wrapped.root_key, KeyKind.AES, lambda hsm, root: hsm.unwrap(root, wrapped.wrapped, context)
        )

    def new_data_key(self, number, purpose, root_key):
        key = DataKey.random()
        return OpenKey(self.wrap(number, purpose, root_key, key), key, fresh=True)

    def open_wrapped(self, wrapped):
        return OpenKey(wrapped, self.unwrap(wrapped))

    def open_number(self, number, purpose):
        wrapped = self._means.wrapped_keys.wrapped_key(number)
        if wrapped.purpose is not purpose:
            raise SealError
        return self.open_wrapped(wrapped)

    def is_ready(self, key, number):
        return False

    def forget(self):
        pass

    def renew(self, key, numbers):
        pass

    # Shares

    def _open(self, key, role, sealed, participant, columns=None):
        purpose = Purpose.CLAIM if participant == DEVICE_NUMBER else Purpose.SERVER
        under = self.open_number(sealed.data_key, purpose)
        try:
            return key.row.open(role, under.key, under.number, participant, sealed.record, columns)
        except IcehouseError as exc:
            raise SealError from exc

    def open_share(self, key):
        return self._open(key, "current", key.sealed, SERVER_NUMBER)

    def open_claim(self, key):
        return self._open(key, "claim", key.claim, DEVICE_NUMBER)

    def open_pending(self, key, offer):
        return self._open(key, "pending", offer.sealed, SERVER_NUMBER, offer.columns)

    def enrolment_code(self, key):
        under = self.open_number(key.claim.data_key, Purpose.CLAIM)
        return under.key.enrolment_code(self._means.record.vault_id, key.key_id, key.salt)

    def draw(self, key, epoch, offer_id, *, whole):
        commitments, (device, server) = rotate(key.group)
        half = self.open_claim(key).plus(device) if whole else device
        return Drawn(commitments, self.open_share(key).plus(server), half)

    def _seal(self, key, role, share, under, *offer):
        participant = DEVICE_NUMBER if role == "claim" else SERVER_NUMBER
        return Sealed(under.number, key.row.seal(role, under.key, under.number, participant, share, *offer))

    def seal_share(self, key, share, under):
        return self._seal(key, "current", share, under)

    def seal_claim(self, key, share, under):
        return self._seal(key, "claim", share, under)

    def seal_pending(self, key, offer, share, under):
        return self._seal(key, "pending", share, under, offer.columns)
