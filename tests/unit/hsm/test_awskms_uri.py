"""`awskms://` URIs are parsed strictly."""

from __future__ import annotations

import pytest

from icehouse.errors import RequestError
from icehouse.hsm.awskms.uri import AwsKmsUri

HERE = "awskms://eu-central-1"
ROLE = "arn:aws:iam::222222222222:role/teams/icehouse"


def test_a_uri_names_a_region_and_has_defaults():
    assert AwsKmsUri.parse(HERE) == AwsKmsUri(
        region="eu-central-1", endpoint=None, insecure=False, deadline=5.0, concurrency=16, profile=None, role=None,
        account=None, prefix="icehouse", deletion_days=30,
    )  # fmt: skip


@pytest.mark.parametrize("uri", ["awskms:", "awskms://", "awskms:///"])
def test_the_region_may_be_left_to_the_environment(uri):
    if uri == "awskms:":
        with pytest.raises(RequestError, match="must read awskms://REGION"):
            AwsKmsUri.parse(uri)
        return

    assert AwsKmsUri.parse(uri).region is None


def test_a_role_says_whose_keys_they_are():
    uri = AwsKmsUri.parse(f"{HERE}?role={ROLE}&profile=me&prefix=a/b_c-1&deletion-days=7&deadline=0.5&concurrency=3")

    assert (uri.role, uri.account, uri.profile, uri.prefix) == (ROLE, "222222222222", "me", "a/b_c-1")
    assert (uri.deletion_days, uri.deadline, uri.concurrency) == (7, 0.5, 3)


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("", None),
        ("?endpoint=vpce-1.kms.eu-central-1.vpce.amazonaws.com:443", "https://vpce-1.kms.eu-central-1.vpce.amazonaws.com:443"),
        ("?endpoint=[::1]:7&insecure=1", "http://[::1]:7"),
    ],
)  # fmt: skip
def test_an_endpoint_is_reached_over_tls_unless_it_is_on_this_machine(query, url):
    assert AwsKmsUri.parse(HERE + query).url == url


@pytest.mark.parametrize(
    "uri", ["awskms:eu-central-1", "awskms://eu-central-1/icehouse", "awskms://EU", "awskms://a%2Fb", "awskms://a%0A"]
)
def test_a_uri_of_another_form_is_a_wrong_request(uri):
    with pytest.raises(RequestError, match="must read awskms://REGION"):
        AwsKmsUri.parse(uri)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("endpoint=localhost", "endpoint must read HOST:PORT"),
        ("endpoint=https://h:1", "endpoint must read HOST:PORT"),
        ("insecure=1", "needs an endpoint on a loopback"),
        ("insecure=yes&endpoint=127.0.0.1:1", "insecure must be 0 or 1"),
        ("insecure=1&endpoint=localhost:1", "loopback address only"),
        ("deadline=0", "deadline must be"),
        ("concurrency=0", "concurrency must be"),
        ("role=icehouse", "role must be arn:aws:iam::ACCOUNT:role/NAME"),
        ("role=arn:aws:iam::1:role/x", "role must be"),
        ("account=1234", "account must be 12 digits"),
        (f"role={ROLE}&account=111111111111", "the role is in account 222222222222, and account says 111111111111"),
        ("profile=a%0Ab", "profile must be"),
        ("prefix=", "prefix must be"),
        ("prefix=aws", "prefix must be"),
        ("prefix=aws/x", "prefix must be"),
        ("prefix=a//b", "prefix must be"),
        ("prefix=a/", "prefix must be"),
        ("prefix=alias:x", "prefix must be"),
        (f"prefix={'a' * 129}", "prefix must be"),
        ("deletion-days=6", "deletion-days must be between 7 and 30"),
        ("deletion-days=31", "deletion-days must be between 7 and 30"),
        ("deletion-days=7&deletion-days=8", "must name deletion-days once"),
        ("key=1", "not 'key'"),
        ("pin-value=1234", "must not carry a PIN"),
    ],
)
def test_an_attribute_that_makes_no_sense_is_a_wrong_request(query, words):
    with pytest.raises(RequestError, match=words) as caught:
        AwsKmsUri.parse(f"{HERE}?{query}")

    if "pin" in query:
        assert "1234" not in str(caught.value)
