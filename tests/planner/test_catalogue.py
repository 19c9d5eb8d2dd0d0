"""Catalogues: every figure with its source, and nothing that is not understood."""

import csv
from fractions import Fraction
from pathlib import Path

import pytest

from icehouse.errors import RequestError
from icehouse.planner.reading import CONFIDENCES, load, read

PRICES = list(csv.DictReader((Path(__file__).parent / "prices.csv").read_text(encoding="utf-8").splitlines()))
PROVIDER = """
[[provider]]
name = "mine"
title = "Mine"
driver = "pkcs11"
cloud = false
hardware = true
single_tenant = true
fips = "140-3 level 3"
kinds = ["aes"]
source = "me"
as_of = "today"
confidence = "high"
"""
PRICE = """
[[price]]
provider = "mine"
item = "flat"
unit = "month"
usd = 7.25
source = "me"
as_of = "today"
confidence = "high"
default = true
"""


def catalogue_of(row):
    return load("original" if row["provider"] == "seed" else "current")


@pytest.mark.parametrize("row", PRICES, ids=[f"{row['provider']}: {row['item']}" for row in PRICES])
def test_every_collected_figure_is_in_a_catalogue_with_its_source_date_and_confidence(row):
    catalogue = catalogue_of(row)
    figure, _, words = row["usd"].partition(" ")
    claims = catalogue.limits if words == "free" else catalogue.prices
    evidence = (Fraction(figure), row["source"], row["as_of"], row["confidence"])

    assert evidence in {(claim.value, claim.source, claim.as_of, claim.confidence) for claim in claims}


@pytest.mark.parametrize("name", ["current", "original"])
def test_every_claim_has_a_unit_a_source_a_date_and_a_known_confidence(name):
    catalogue = load(name)

    for claim in (*catalogue.prices, *catalogue.limits):
        assert claim.unit
        assert claim.source
        assert claim.as_of
        assert claim.confidence in CONFIDENCES


def test_of_several_claims_for_one_price_exactly_one_is_the_default():
    claims = [c for c in load("current").prices if (c.provider, c.item) == ("aws_cloudhsm", "hsm")]

    assert len(claims) == 4
    assert [claim.value for claim in claims if claim.default] == [Fraction("1.60")]


def test_a_file_of_ones_own_overrides_a_price_and_keeps_the_earlier_claim_beside_it():
    own = PRICE.replace('"mine"', '"gcp_kms"').replace("flat", "key.aes").replace('"month"', '"version_month"')
    catalogue = read(own, "own.toml", load("current"))
    claims = [c for c in catalogue.prices if (c.provider, c.item) == ("gcp_kms", "key.aes")]

    assert catalogue.tiers("gcp_kms", "key.aes", None)[0].value == Fraction("7.25")
    assert {claim.value: claim.default for claim in claims} == {Fraction("7.25"): True, Fraction(1): False}


def test_a_file_of_ones_own_may_describe_a_new_provider():
    catalogue = read(PROVIDER + PRICE, "own.toml", load("current"))

    assert catalogue.provider("mine").title == "Mine"
    assert catalogue.tiers("mine", "flat", None)[0].value == Fraction("7.25")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("usd = 7.25", "usd = -1"), r"number 1 \(mine flat\): usd must not be negative, and it is -1"),
        (('unit = "month"\n', ""), r"own.toml, \[\[price\]\] number 1 \(mine flat\) lacks unit"),
        (('unit = "month"', 'unit = "week"'), "the unit of flat must be one of month, not 'week'"),
        (("usd = 7.25", "usd = 7.25\nprize = 3"), r"number 1 \(mine flat\): there is no key 'prize'"),
        (('item = "flat"', 'item = "flatt"'), "there is no item 'flatt'"),
        (("usd = 7.25", 'usd = "cheap"'), "usd cannot be 'cheap'"),
        (("usd = 7.25", "usd = true"), "usd cannot be True"),
        (("usd = 7.25", "usd = nan"), "usd must be a number, not NaN"),
        (("usd = 7.25", "usd = 7.25\nabove = -5"), "above must not be negative"),
        (('source = "me"\nas_of = "today"\nconfidence = "high"\ndefault', "default"), "lacks source"),
        (('confidence = "high"\ndefault', 'confidence = "sure"\ndefault'), "confidence must be one of .*, not 'sure'"),
        (("default = true", "default = false"), "exactly one claim must be the default for mine flat, not 0"),
        (('provider = "mine"', 'provider = "yours"'), "names the provider 'yours', which is not described"),
        (("[[price]]", "[[prices]]"), "there is no section 'prices'"),
        (("[[price]]", "[price]"), r"price must be written as \[\[price\]\]"),
        (('kinds = ["aes"]', 'kinds = ["des"]'), "kinds must be out of"),
        (("cloud = false", 'cloud = "no"'), "cloud cannot be 'no'"),
        (("usd = 7.25", "usd = "), "own.toml is not TOML"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(change, message):
    text = PROVIDER + PRICE

    assert change[0] in text

    with pytest.raises(RequestError, match=message):
        read(text.replace(*change), "own.toml", load("current"))


def test_two_defaults_for_one_price_are_refused():
    with pytest.raises(RequestError, match="exactly one claim must be the default for mine flat, not 2"):
        read(PROVIDER + PRICE + PRICE, "own.toml", load("current"))


def test_a_limit_in_another_unit_than_its_own_is_refused():
    limit = PRICE.replace("[[price]]", "[[limit]]").replace("flat", "keys").replace("usd", "value")

    with pytest.raises(RequestError, match="the unit of keys must be keys, not 'month'"):
        read(PROVIDER + limit, "own.toml", load("current"))


def test_a_catalogue_without_a_name_and_one_that_does_not_exist_are_refused():
    with pytest.raises(RequestError, match=r"own\.toml lacks a name"):
        read(PROVIDER, "own.toml")

    with pytest.raises(RequestError, match="catalogue must be one of current, original, not 'secret'"):
        load("secret")


def test_an_unknown_region_and_an_unknown_provider_are_refused():
    with pytest.raises(RequestError, match="region must be one of us-east-1, westeurope, not 'mars'"):
        load("current").check_region("mars")

    with pytest.raises(RequestError, match=r"provider must be one of .*aws_cloudhsm.*, not 'acme'"):
        load("current").provider("acme")
