"""A hierarchical user's key, computed from FORMATS.md alone: another PKCS#11 client, plain integers, no icehouse."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from conformance.custody import outsider
from conformance.custody.house import BUCKETS, NODES
from consenting import destroyed
from tamper.attacker import channel_key, channel_of, inside, row_context

pytestmark = [pytest.mark.on("softhsm"), pytest.mark.under(BUCKETS, NODES)]
USER = "zoë@example.org"
ROTATIONS = 11


@pytest.fixture
def ask(house, softhsm, tmp_path):
    """Asks the house's token for a user's node, through another client."""

    def node_of(user):
        vault = house.service.vault.vault_id
        text = outsider.message(vault, user, house.arrangement.buckets)
        return outsider.ask_the_token(softhsm, house.token, f"icehouse-{vault.hex()}-master-1", text, tmp_path)

    return node_of


def path_of(key):
    return outsider.Path2of2(key.user, key.suite, key.generation, key.epoch, key.offer_id or bytes(16))


def agrees(house, device, node):
    """Everything that follows from the node at the device's epoch."""
    key, path = house.key(USER), path_of(house.key(USER))
    held = inside(device._state)["current"]
    commitments = outsider.commitments(node, path)

    assert key.epoch == device.epoch
    assert [key.group.public_key, key.commitments] == [commitments[0], b"".join(commitments)]
    assert held["share"] == outsider.share(node, path, 1).hex()
    # The device cannot see the server's share; the channel key that both have follows from it.
    assert channel_of(device._state) == channel_key(
        outsider.share(node, path, outsider.SERVER), key.vault, key.key_id, key.epoch
    )
    assert key.sealed.record == outsider.row_tag(node, USER, row_context(key, "current", 0, outsider.SERVER))


@pytest.mark.parametrize("suite", outsider.CURVES)
def test_shares_and_public_key_follow_from_the_formats_at_an_early_and_at_a_later_epoch(house, ask, suite):
    device = house.enrolled(USER, suite=suite)
    node = ask(USER)
    agrees(house, device, node)
    early = device.epoch
    for _ in range(ROTATIONS):
        device.rotate(house.service)

    assert device.epoch == early + ROTATIONS
    agrees(house, device, node)


def test_a_key_that_no_device_has_claimed_and_its_code_follow_from_the_formats(house, ask):
    house.service.create_users([USER])
    token = house.service.enrolment_code(USER)
    node, key = ask(USER), house.key(USER)

    assert key.commitments == b"".join(outsider.commitments(node, path_of(key)))
    assert token == f"{key.key_id.hex()}.{outsider.enrolment_code(node, key.vault, key.key_id, key.salt).hex()}"
    assert key.sealed.record == outsider.row_tag(node, USER, row_context(key, "current", 0, outsider.SERVER))


def test_the_next_generation_has_a_key_of_its_own_from_the_same_node(house, ask):
    house.enrolled(USER)
    destroyed(house.service, USER)
    device = house.enrolled(USER)

    assert house.key(USER).generation == 1
    agrees(house, device, ask(USER))


def test_whoever_can_use_the_master_signs_as_the_user(house, ask):
    device = house.enrolled(USER)
    secret, _ = outsider.coefficients(ask(USER), path_of(house.key(USER)))
    signature = outsider.sign_ed25519(secret, device.public_key, b"not what the user wanted")

    # No promise but a warning, which the docs repeat: a node is every one of its users' whole keys.
    Ed25519PublicKey.from_public_bytes(device.public_key).verify(signature, b"not what the user wanted")
