"""A choice: a provider and a custody, and where the claim root key lives when it is not the same place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from icehouse.errors import RequestError
from icehouse.planner.coefficients import CUSTODIES, TABLE, Custody, KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from icehouse.planner.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to keep the keys. `user_key` is what a user's own HSM key is, where each user has one."""

    provider: str
    custody: Custody
    claim_provider: str = ""
    """Where the claim root key lives; empty for the same provider."""
    user_key: KeyKind = KeyKind.AES

    @property
    def providers(self) -> tuple[str, ...]:
        """Whose HSMs it needs."""
        return (self.provider, self.claim_provider) if self.claim_provider else (self.provider,)

    def __str__(self) -> str:
        return f"{'+'.join(self.providers)} {self.custody}"


def choices(
    catalogue: Catalogue,
    *,
    providers: Iterable[str] = (),
    custodies: Iterable[str] = (),
    two_providers: bool = False,
) -> list[Choice]:
    """Every choice a catalogue offers, or those of these providers and custodies. Raises `RequestError`."""
    names = [catalogue.provider(name).name for name in providers] or list(catalogue.providers)
    kinds = [custody_of(name) for name in custodies] or list(CUSTODIES)
    if not two_providers:
        return [Choice(name, custody) for name in names for custody in kinds]
    # Only a custody with a claim root key of its own can be split between two.
    split = [custody for custody in kinds if TABLE[custody].claim_root is not None]
    return [Choice(one, custody, other) for one in names for other in names if one != other for custody in split]


def custody_of(name: str) -> Custody:
    """A custody by name, or `RequestError`."""
    try:
        return Custody(name)
    except ValueError:
        msg = f"custody must be one of {', '.join(Custody)}, not {name!r}"
        raise RequestError(msg) from None
