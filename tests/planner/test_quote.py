"""What a rewrap costs where it would be done."""

from __future__ import annotations

from fractions import Fraction

from icehouse.planner.quote import quotes
from icehouse.planner.reading import load


def test_a_provider_that_bills_operations_and_keys_is_quoted_by_its_prices():
    catalogue = load("current")
    price = catalogue.tiers("gcp_kms", "operations.symmetric", None)[0].value
    key = catalogue.tiers("gcp_kms", "key.aes", None)[0].value
    rate = catalogue.limit("gcp_kms", "operations_per_second").value
    (quote,) = quotes("gcpkms", 30_000, 2)

    assert (quote.provider, quote.operations, quote.monthly) == ("gcp_kms", 3 * price, 2 * key)
    assert quote.seconds == Fraction(30_000) / rate
    assert price > 0
    assert key > 0


def test_hardware_that_is_owned_costs_nothing_more():
    found = {quote.provider: quote for quote in quotes("pkcs11", 1000, 2)}

    assert {"aws_cloudhsm", "yubihsm2"} <= found.keys()
    assert {quote.operations for quote in found.values()} == {0}


def test_a_scheme_that_the_catalogue_does_not_know_has_no_quote():
    assert quotes("nonsense", 1000, 2) == []
