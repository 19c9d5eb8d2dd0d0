"""Every provider is tried like every other: none joins without a suite, a story, a soak and a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.hsm.adapters import ADAPTERS, Can, Pkcs11InWeather
from icehouse.hsm import _PROVIDERS
from icehouse.hsm.configuration import _MAKERS, hsm_uri
from integration.providers.test_dead_endpoint import SERVICES
from integration.providers.test_migration import ROUTE

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "hsm.md").read_text(encoding="utf-8")
HERE = {"simulated", "pkcs11"}
"""Schemes of modules that live in this process: no endpoint of theirs can be dead."""


@pytest.fixture
def made(tmp_path, softhsm):
    """One adapter of each kind, with the scheme of its URI."""
    adapters = []
    for make in ADAPTERS:
        directory = tmp_path / make.name
        directory.mkdir()
        adapters.append(make(directory, lambda: softhsm))
    yield adapters
    for adapter in adapters:
        adapter.clean()


def scheme_of(adapter) -> str:
    return adapter.uri.partition(":")[0]


def test_every_scheme_has_an_adapter_that_storms_loses_sessions_and_counts_them(made):
    for scheme in _PROVIDERS:
        ours = [adapter for adapter in made if scheme_of(adapter) == scheme]
        assert any(Can.STORM in adapter.can for adapter in ours), f"{scheme}: has no bad day"
        assert all(adapter.held() == 0 or scheme == "pkcs11" for adapter in ours)


def test_every_name_of_a_provider_opens_what_an_adapter_made(made):
    assert {adapter.provider[0] for adapter in made} == set(_MAKERS)
    for adapter in made:
        assert hsm_uri(*adapter.provider).partition("?")[0] == adapter.uri.partition("?")[0]


def test_every_scheme_is_on_the_way_of_the_migration_and_every_service_can_be_dead(made):
    by_class = {type(adapter): scheme_of(adapter) for adapter in made}

    assert {by_class[stop] for stop in ROUTE} == set(_PROVIDERS) - {"simulated"}
    assert {by_class[service] for service in SERVICES} == set(_PROVIDERS) - HERE


@pytest.mark.parametrize("scheme", sorted(_PROVIDERS))
def test_every_scheme_has_a_section_of_its_own_on_the_page(scheme):
    assert f"\n## `{scheme}:`" in PAGE


def test_the_page_tells_how_every_adapter_came_through_a_minute_of_lost_sessions():
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \| [\d,]+ \| \d+ \|", PAGE, re.MULTILINE))

    assert told == {adapter.name for adapter in (*ADAPTERS, Pkcs11InWeather)}


def test_no_test_of_a_provider_is_ever_skipped():
    folders = ("conformance/hsm", "integration")
    texts = [path.read_text(encoding="utf-8") for each in folders for path in (ROOT / "tests" / each).rglob("*.py")]

    assert not [text for text in texts if re.search(r"pytest\.(skip|mark\.skip|importorskip|xfail)|mark\.xfail", text)]
