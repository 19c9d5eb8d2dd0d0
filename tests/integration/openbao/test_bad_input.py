"""What is told to whoever names the wrong mount, lacks a permission, a token or the client itself."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import pytest

from icehouse.errors import HsmRefusedError, HsmUnavailableError, RequestError
from icehouse.hsm import KeyKind, open_hsm
from integration.openbao.calls import AUDIT, CALLS, CONTEXT, DEAD, KEK
from servers.openbao import ROOT_TOKEN, policy_of

NEEDS = {
    "encrypt": ("transit/encrypt/icehouse-*", "/encrypt/kek", "update"),
    "decrypt": ("transit/decrypt/icehouse-*", "/decrypt/kek", "update"),
    "hmac": ("transit/hmac/icehouse-*", "/hmac/master/sha2-512", "update"),
    "sign": ("transit/sign/icehouse-*", "/sign/audit/sha2-256", "update"),
    "read": ("transit/keys/icehouse-*", "/keys/audit", "read"),
}


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_permission_is_named_with_the_stanza_that_mends_it(place, wrapped, name):
    lacking, path, capability = NEEDS[name]
    place.permit(policy_of(place.mount, without=lacking))

    with closing(open_hsm(place.uri())) as hsm, pytest.raises(HsmRefusedError, match="no permission") as caught:
        CALLS[name](hsm, wrapped)
    assert f'path "{place.mount}{path}" {{ capabilities = ["{capability}"] }}' in caught.value.hint
    assert place.token_file.read_text().strip() not in f"{caught.value} {caught.value.hint}"


def test_without_permission_no_key_is_made_listed_or_destroyed(place, wrapped):
    place.permit(f'path "{place.mount}/keys/*" {{ capabilities = ["read"] }}')

    with closing(open_hsm(place.uri())) as hsm:
        for call, stanza in (
            (lambda: hsm.create_key("new", KeyKind.AES), f'"{place.mount}/keys/new" {{ capabilities = ["update"] }}'),
            (lambda: hsm.keys(""), f'"{place.mount}/keys" {{ capabilities = ["list"] }}'),
            (lambda: hsm.destroy_key(KEK), f'"{place.mount}/keys/kek/config" {{ capabilities = ["update"] }}'),
        ):
            with pytest.raises(HsmRefusedError, match="no permission") as caught:
                call()
            assert stanza in caught.value.hint
    place.permit(policy_of(place.mount))
    with closing(open_hsm(place.uri())) as hsm:
        assert "new" not in [key.label for key in hsm.keys("")]
        hsm.unwrap(KEK, wrapped, CONTEXT)


def test_the_policy_of_the_page_grants_every_right_and_a_missing_one_is_told(place):
    place.permit(policy_of(place.mount, "icehouse-*"))
    with closing(open_hsm(place.uri())) as hsm:
        assert [right.granted for right in hsm.rights()] == [True] * 9
    place.permit(policy_of(place.mount, "icehouse-*", without="transit/hmac/icehouse-*"))
    with closing(open_hsm(place.uri())) as hsm:
        (missing,) = [right for right in hsm.rights() if not right.granted]

    assert missing.action == f"update {place.mount}/hmac/icehouse-*/sha2-512"
    assert missing.granted is False
    assert missing.mend == f'path "{place.mount}/hmac/icehouse-*" {{ capabilities = ["update"] }}'


@pytest.mark.parametrize("number", range(9))
def test_each_stanza_that_mends_is_all_that_its_right_needs(place, hsm, number):
    place.permit(hsm.rights()[number].mend)

    with closing(open_hsm(place.uri())) as other:
        assert other.rights()[number].granted


def test_a_root_token_has_every_right(place):
    place.token_file.write_text(ROOT_TOKEN)

    with closing(open_hsm(place.uri())) as hsm:
        assert all(right.granted for right in hsm.rights())


def test_a_token_that_may_not_ask_for_its_rights_does_not_know_them(place):
    body = {"policies": [place.server.new_policy(policy_of(place.mount))], "no_default_policy": True}
    place.token_file.write_text(place.server.api("POST", "auth/token/create", body)["auth"]["client_token"])

    with closing(open_hsm(place.uri())) as hsm:
        assert {right.granted for right in hsm.rights()} == {None}


@pytest.mark.parametrize("mount", ["no-such-mount", "secret"])
@pytest.mark.parametrize("token", ["icehouse's", "root's"])
def test_a_wrong_mount_is_refused_when_opened(place, mount, token):
    if token == "root's":  # noqa: S105
        place.token_file.write_text(ROOT_TOKEN)

    with pytest.raises(HsmRefusedError, match=r"has no mount|is of type kv, not transit") as caught:
        open_hsm(place.uri(mount))
    assert "transit" in caught.value.hint


def test_a_wrong_namespace_is_refused_when_opened_and_a_right_one_has_keys_of_its_own(place, hsm):
    with pytest.raises(HsmRefusedError, match="namespace") as caught:
        open_hsm(place.uri(namespace="nobodys"))
    assert "namespace=" in caught.value.hint

    place.server.api("POST", f"sys/namespaces/team-{place.mount}")
    mount = place.server.new_mount(f"team-{place.mount}")
    place.token_file.write_text(ROOT_TOKEN)
    hsm.create_key("kek", KeyKind.AES)
    with closing(open_hsm(place.uri(mount, namespace=f"team-{place.mount}"))) as other:
        assert other.keys("") == []
        other.create_key("audit", KeyKind.ECDSA)
        assert len(other.sign(AUDIT, bytes(32))) == 64


def test_a_wrong_token_is_refused_when_opened_and_not_shown(place):
    place.token_file.write_text("hvs.made-up")

    with pytest.raises(HsmRefusedError, match="does not take the token: it is wrong, expired or revoked") as caught:
        open_hsm(place.uri())
    assert str(place.token_file) in caught.value.hint
    assert "made-up" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"


@pytest.mark.parametrize("content", [None, b"", b"a b", b"x\ny", b"\xff", b"1" * 5000], ids=repr)
def test_a_file_that_holds_no_token_is_a_wrong_request(place, content):
    place.token_file.unlink()
    if content is not None:
        place.token_file.write_bytes(content)

    with pytest.raises(RequestError, match="the token file") as caught:
        open_hsm(place.uri())
    assert str(place.token_file) in str(caught.value)


def test_a_mount_is_not_made_by_icehouse(place):
    with pytest.raises(RequestError, match="made with OpenBao's tools"):
        open_hsm(place.uri(), create=True)


def test_authorities_that_are_not_there_are_a_wrong_request(place, tmp_path):
    with pytest.raises(RequestError, match="ca must name a file"):
        open_hsm(place.uri(ca=tmp_path / "none.pem"))


def test_an_http_server_is_not_asked_over_tls(place):
    with pytest.raises(HsmUnavailableError, match="SSLError"):
        open_hsm(place.uri(insecure=None, deadline=0.5))
    assert place.front.tokens == []


FRESH = """
import sys
{before}
import icehouse, icehouse.hsm, icehouse.service, icehouse.hsm.configuration
loaded = {{name.partition(".")[0] for name, module in sys.modules.items() if module}}
assert not loaded & {{"hvac", "requests", "urllib3"}}
from icehouse.errors import IcehouseError
try:
    icehouse.hsm.open_hsm(sys.argv[1])
    print("open")
except IcehouseError as exc:
    print(type(exc).__name__, exc, exc.hint, sep="|")
"""


def fresh(uri: str, before: str = "", **named: str) -> str:
    """Open a mount in an interpreter of its own, with nothing in the environment but what is named."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_TOKEN")} | named
    command = [sys.executable, "-c", FRESH.format(before=before), uri]
    told = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


@pytest.mark.parametrize("name", ["BAO_TOKEN", "VAULT_TOKEN"])
def test_a_token_may_come_from_the_environment(place, name):
    token = place.token_file.read_text().strip()

    assert fresh(place.uri(token_source=None), **{name: token}) == "open"


def test_a_token_that_is_nowhere_is_told_with_where_it_could_be(place):
    told = fresh(place.uri(token_source=None))

    assert told.startswith("HsmRefusedError|there is no token for OpenBao|")
    assert "BAO_TOKEN" in told
    assert "token-source" in told


def test_a_missing_client_is_an_error_that_names_the_extra(place):
    told = fresh(DEAD.format(port=1, token=place.token_file), "sys.modules['hvac'] = None")

    assert told == "MissingExtraError|this needs the optional part 'openbao'|pip install 'icehouse[openbao]'"


def test_proxies_of_the_environment_get_nothing(place):
    assert fresh(place.uri(), HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9") == "open"
