"""Tokens that expire, are revoked and written anew, and AppRoles that log in again."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError
from icehouse.hsm import open_hsm
from integration.openbao.calls import CALLS, CONTEXT, KEK
from servers.openbao import policy_of
from servers.openbao_front import Fault


@pytest.fixture
def role(place, tmp_path):
    """The URI of an AppRole, and the file of its secret ID."""
    role_id, secret = place.server.new_role(policy_of(place.mount))
    file = tmp_path / "secret-id"
    file.write_text(f"{secret}\n")
    return place.uri(token_source=None, role_id=role_id, secret_id_source=f"file:{file}", deadline=1.5), file


def revoke(place, token: str) -> None:
    place.server.api("POST", "auth/token/revoke", {"token": token})


def test_an_approle_logs_in_and_again_when_its_token_is_not_valid_any_more(place, role, wrapped):
    uri, _ = role
    with closing(open_hsm(uri)) as hsm:
        hsm.unwrap(KEK, wrapped, CONTEXT)
        for call in CALLS.values():
            revoke(place, place.front.tokens[-1])
            call(hsm, wrapped)

    assert place.front.count("login") == 1 + len(CALLS)


def test_a_token_that_expires_by_itself_is_followed_by_another(place, tmp_path, wrapped):
    role_id, secret = place.server.new_role(policy_of(place.mount), ttl="1s")
    (tmp_path / "secret").write_text(secret)
    uri = place.uri(token_source=None, role_id=role_id, secret_id_source=f"file:{tmp_path / 'secret'}")
    with closing(open_hsm(uri)) as hsm:
        threading.Event().wait(1.2)
        hsm.unwrap(KEK, wrapped, CONTEXT)

    assert place.front.count("login") == 2


def test_a_login_that_fails_in_passing_is_repeated(place, role):
    uri, _ = role
    place.front.weather.schedule = {("login", 1): Fault.LOST_ANSWER, ("login", 2): Fault.CORRUPTED}
    with closing(open_hsm(uri)) as hsm:
        assert hsm.keys("") == []

    assert place.front.count("login") == 3


def test_a_permission_that_is_missing_makes_no_approle_log_in_again(place, tmp_path, wrapped):
    role_id, secret = place.server.new_role(policy_of(place.mount, without="transit/decrypt/icehouse-*"))
    (tmp_path / "secret").write_text(secret)
    uri = place.uri(token_source=None, role_id=role_id, secret_id_source=f"file:{tmp_path / 'secret'}")
    with closing(open_hsm(uri)) as hsm, pytest.raises(HsmRefusedError, match="no permission"):
        hsm.unwrap(KEK, wrapped, CONTEXT)

    assert place.front.count("login") == 1


def test_a_wrong_secret_id_is_refused_and_not_shown(role):
    uri, file = role
    file.write_text("314159-wrong")

    with pytest.raises(HsmRefusedError, match="refuses the AppRole login") as caught:
        open_hsm(uri)
    assert "314159" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert "secret ID" in caught.value.hint


def test_a_secret_id_that_goes_missing_makes_the_server_unavailable_only_when_it_is_needed(place, role, wrapped):
    uri, file = role
    with closing(open_hsm(uri)) as hsm:
        kept = file.read_text()
        file.unlink()
        hsm.unwrap(KEK, wrapped, CONTEXT)
        revoke(place, place.front.tokens[-1])
        with pytest.raises(HsmUnavailableError, match="the secret ID file"):
            hsm.unwrap(KEK, wrapped, CONTEXT)
        file.write_text(kept)
        hsm.unwrap(KEK, wrapped, CONTEXT)


def test_a_token_file_that_was_written_anew_is_read_when_the_old_token_is_refused(place, hsm, wrapped):
    old = place.token_file.read_text().strip()
    place.permit(policy_of(place.mount))
    revoke(place, old)

    hsm.unwrap(KEK, wrapped, CONTEXT)


def test_a_revoked_token_without_another_is_refused_with_where_to_put_one(place, hsm, wrapped):
    revoke(place, place.token_file.read_text().strip())

    with pytest.raises(HsmRefusedError, match="wrong, expired or revoked") as caught:
        hsm.unwrap(KEK, wrapped, CONTEXT)
    assert str(place.token_file) in caught.value.hint
    place.permit(policy_of(place.mount))
    hsm.unwrap(KEK, wrapped, CONTEXT)
