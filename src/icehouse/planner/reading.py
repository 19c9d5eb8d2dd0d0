"""Catalogue files: TOML, read strictly. What is not understood is refused with the place where it stands."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any, NamedTuple

from icehouse.errors import RequestError
from icehouse.planner.catalogue import ANYWHERE, LIMIT_UNITS, PRICE_UNITS, Catalogue, Claim, Provider
from icehouse.planner.coefficients import KeyKind

CATALOGUES = ("current", "original")
CONFIDENCES = ("high", "medium", "low", "as written")
_SECTIONS = ("name", "provider", "price", "limit")


class _Field(NamedTuple):
    kind: type | tuple[type, ...]
    required: bool = True


_EVIDENCE = {"source": _Field(str), "as_of": _Field(str), "confidence": _Field(str)}
_PROVIDER = {
    "name": _Field(str),
    "title": _Field(str),
    "driver": _Field(str),
    "cloud": _Field(bool),
    "hardware": _Field(bool),
    "single_tenant": _Field(bool),
    "fips": _Field(str),
    "kinds": _Field(list),
    "note": _Field(str, required=False),
    "incomplete": _Field(str, required=False),
    **_EVIDENCE,
}
_CLAIM = {
    "provider": _Field(str),
    "item": _Field(str),
    "unit": _Field(str),
    "default": _Field(bool),
    "note": _Field(str, required=False),
    **_EVIDENCE,
}
_PRICE = {
    **_CLAIM,
    "usd": _Field((int, Decimal)),
    "region": _Field(str, required=False),
    "above": _Field(int, required=False),
    "up_to": _Field(int, required=False),
}
_LIMIT = {**_CLAIM, "value": _Field((int, Decimal))}


def load(name: str) -> Catalogue:
    """A catalogue that comes with icehouse: `current` or `original`."""
    if name not in CATALOGUES:
        msg = f"catalogue must be one of {', '.join(CATALOGUES)}, not {name!r}"
        raise RequestError(msg)
    text = (files("icehouse.planner") / "catalogues" / f"{name}.toml").read_text(encoding="utf-8")
    return read(text, f"the catalogue {name!r}")


def read(text: str, place: str, base: Catalogue | None = None) -> Catalogue:
    """The catalogue of a TOML text; over a base, its claims come first and its defaults replace the base's.

    Raises `RequestError` that names the place.
    """
    document = _parse(text, place)
    providers = {p.name: p for p in (_provider(t, w) for t, w in _tables(document, "provider", place))}
    prices = [_price(table, where) for table, where in _tables(document, "price", place)]
    limits = [_limit(table, where) for table, where in _tables(document, "limit", place)]
    if base is not None:
        providers = {**base.providers, **providers}
        prices += _beneath(base.prices, prices)
        limits += _beneath(base.limits, limits)
    _check_claims(prices, providers, place)
    _check_claims(limits, providers, place)
    name = document.get("name", base.name if base else "")
    if not isinstance(name, str) or not name:
        msg = f"{place} lacks a name"
        raise RequestError(msg)
    return Catalogue(name, providers, tuple(prices), tuple(limits))


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        msg = f"{place} is not TOML: {exc}"
        raise RequestError(msg) from exc
    unknown = sorted(document.keys() - set(_SECTIONS))
    if unknown:
        msg = f"{place}: there is no section {unknown[0]!r}; there are {', '.join(_SECTIONS)}"
        raise RequestError(msg)
    return document


def _tables(document: dict[str, Any], section: str, place: str) -> list[tuple[dict[str, Any], str]]:
    found = document.get(section, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        msg = f"{place}: {section} must be written as [[{section}]]"
        raise RequestError(msg)
    return [(table, _where(table, section, number, place)) for number, table in enumerate(found, start=1)]


def _where(table: dict[str, Any], section: str, number: int, place: str) -> str:
    named = " ".join(str(table[key]) for key in ("provider", "item", "name") if key in table)
    return f"{place}, [[{section}]] number {number}{f' ({named})' if named else ''}"


def _fields(table: dict[str, Any], known: dict[str, _Field], where: str) -> dict[str, Any]:
    unknown = sorted(table.keys() - known.keys())
    if unknown:
        msg = f"{where}: there is no key {unknown[0]!r}; there are {', '.join(known)}"
        raise RequestError(msg)
    for name, field in known.items():
        if name not in table:
            if field.required:
                msg = f"{where} lacks {name}"
                raise RequestError(msg)
            continue
        value = table[name]
        if not isinstance(value, field.kind) or (isinstance(value, bool) and field.kind is not bool):
            msg = f"{where}: {name} cannot be {value!r}"
            raise RequestError(msg)
    if table["confidence"] not in CONFIDENCES:
        msg = f"{where}: confidence must be one of {', '.join(CONFIDENCES)}, not {table['confidence']!r}"
        raise RequestError(msg)
    return table


def _provider(table: dict[str, Any], where: str) -> Provider:
    found = _fields(table, _PROVIDER, where)
    try:
        kinds = frozenset(KeyKind(kind) for kind in found["kinds"])
    except ValueError as exc:
        msg = f"{where}: kinds must be out of {', '.join(KeyKind)}, not {found['kinds']!r}"
        raise RequestError(msg) from exc
    return Provider(**{**found, "kinds": kinds})


def _price(table: dict[str, Any], where: str) -> Claim:
    found = _fields(table, _PRICE, where)
    if found["item"] not in PRICE_UNITS:
        msg = f"{where}: there is no item {found['item']!r}; there are {', '.join(PRICE_UNITS)}"
        raise RequestError(msg)
    units = PRICE_UNITS[found["item"]]
    if found["unit"] not in units:
        msg = f"{where}: the unit of {found['item']} must be one of {', '.join(sorted(units))}, not {found['unit']!r}"
        raise RequestError(msg)
    for bound in ("above", "up_to"):
        if found.get(bound, 0) < 0:
            msg = f"{where}: {bound} must not be negative"
            raise RequestError(msg)
    return _claim(found, "usd", where)


def _limit(table: dict[str, Any], where: str) -> Claim:
    found = _fields(table, _LIMIT, where)
    unit = LIMIT_UNITS.get(found["item"])
    if unit is None:
        msg = f"{where}: there is no limit {found['item']!r}; there are {', '.join(LIMIT_UNITS)}"
        raise RequestError(msg)
    if found["unit"] != unit:
        msg = f"{where}: the unit of {found['item']} must be {unit}, not {found['unit']!r}"
        raise RequestError(msg)
    return _claim(found, "value", where)


def _claim(found: dict[str, Any], figure: str, where: str) -> Claim:
    value = found[figure]
    if isinstance(value, Decimal) and not value.is_finite():
        msg = f"{where}: {figure} must be a number, not {value}"
        raise RequestError(msg)
    if value < 0:
        msg = f"{where}: {figure} must not be negative, and it is {value}"
        raise RequestError(msg)
    rest = {name: entry for name, entry in found.items() if name != figure}
    return Claim(value=Fraction(value), **rest)


def _beneath(base: tuple[Claim, ...], over: list[Claim]) -> list[Claim]:
    """The base's claims, no longer defaults where another claim is."""
    taken = {claim.subject for claim in over if claim.default}
    return [replace(claim, default=claim.default and claim.subject not in taken) for claim in base]


def _check_claims(claims: list[Claim], providers: dict[str, Provider], place: str) -> None:
    defaults: dict[tuple[str, str, str, int], int] = {claim.subject: 0 for claim in claims}
    for claim in claims:
        if claim.provider not in providers:
            msg = f"{place}: {claim.item} names the provider {claim.provider!r}, which is not described"
            raise RequestError(msg)
        defaults[claim.subject] += claim.default
    for (provider, item, region, above), count in defaults.items():
        if count != 1:
            beyond = f" above {above:,}" if above else ""
            at = f" in {region}" if region != ANYWHERE else ""
            msg = f"{place}: exactly one claim must be the default for {provider} {item}{beyond}{at}, not {count}"
            raise RequestError(msg)
