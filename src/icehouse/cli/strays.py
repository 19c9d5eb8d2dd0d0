"""Keys in an HSM that bear icehouse's labels and belong to no vault that is known here. Nothing is done to them."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from icehouse.cli.options import named
from icehouse.cli.printer import say
from icehouse.errors import IcehouseError
from icehouse.model import Role, root_label
from icehouse.store import VaultStore, root_keys
from icehouse.vault import settings as vault_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FORM = re.compile(r"icehouse-(?:[0-9a-f]{32}|u-[0-9a-f]{32})-(?:[a-z]+-)*[1-9][0-9]*")


def strays(labels: Iterable[str], vault: Path | None) -> list[str]:
    """Those of the labels that are icehouse's and not of the vault that was named."""
    known, stem = _known_here(vault)
    ours = filter(_FORM.fullmatch, labels)
    return sorted(label for label in ours if label not in known and not (stem and label.startswith(stem)))


def explain(found: list[str], shown: int) -> None:
    """Say what they may be."""
    if found:
        more = f" and {len(found) - shown} more" if len(found) > shown else ""
        say(f"warning: no vault known here has these keys: {', '.join(found[:shown])}{more}")
        say(
            "hint: an init that failed leaves such keys, and the same init again takes them up; "
            "other vaults in this HSM have theirs: name one with --vault to see which are not its own"
        )


def _known_here(vault: Path | None) -> tuple[frozenset[str], str]:
    """The labels that the named vault ever announced, and how those of its own root keys begin."""
    try:
        store = VaultStore.open(vault_settings.load(named(vault)).store_url)
    except IcehouseError as exc:
        if vault is not None and vault.exists():
            say(f"warning: the vault at {vault} was not read, so its keys count as unknown: {exc}")
        return frozenset(), ""
    if store is None:
        return frozenset(), ""
    with closing(store):
        stem = root_label(store.vault_id, Role.KEK, 1).removesuffix(f"{Role.KEK}-1")
        return frozenset(root_keys.states(store.database)), stem
