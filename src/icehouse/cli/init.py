"""`icehouse init`: make a vault."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icehouse.cli.options import (
    BucketsOption,
    CustodyOption,
    ExpectedUsersOption,
    FormatOption,
    VaultOption,
    buckets_of,
    named,
)
from icehouse.cli.printer import Format, put_facts, say
from icehouse.custody import Verb, allows, check_allowed, custody_class
from icehouse.store.engine import check_no_password
from icehouse.vault.init import MODULE, STORE, make_vault
from icehouse.vault.settings import Settings, absolute


def init(
    *,
    hsm: Annotated[
        str | None,
        typer.Option("--hsm", metavar="URI", help="The HSM, such as pkcs11:…; without it one is simulated, to try."),
    ] = None,
    claim_hsm: Annotated[
        str | None, typer.Option("--claim-hsm", metavar="URI", help="Another HSM for the root key of unclaimed shares.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="The database; without it SQLite in the vault.")
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            "--fallback",
            metavar="URI",
            help="A simulated: module, for new keys while the HSM cannot be opened. Its PIN's file must be there.",
        ),
    ] = None,
    custody: CustodyOption = "hybrid",
    expected_users: ExpectedUsersOption = None,
    buckets: BucketsOption = None,
    vault: VaultOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a vault: root keys in an HSM, an empty database, and the settings that name them."""
    kind = custody_class(custody)
    if claim_hsm:
        check_allowed(kind, Verb.SPLIT_CLAIM)
    # Whoever types a relative path means it from here; what is made inside the vault moves with it.
    database = check_no_password(store) if store else STORE
    given = absolute(Settings(database, hsm or MODULE, claim_hsm or "", fallback_uri=fallback or ""), Path.cwd())
    wanted = Settings(
        store_url=given.store_url if store else STORE,
        hsm_uri=given.hsm_uri if hsm else MODULE,
        hsm_claim_uri=given.hsm_claim_uri,
        fallback_uri=given.fallback_uri,
    )
    nodes = buckets_of(custody, expected_users, buckets)
    founded = make_vault(named(vault), wanted, custody=custody, buckets=nodes)
    facts = {"vault": founded.vault_id.hex(), "settings": str(founded.file), "custody": custody}
    put_facts(facts | {"buckets": nodes} if allows(kind, Verb.SHARE_NODES) else facts, form)
    if founded.simulated_inside:
        say(
            "warning: FOR TRYING ONLY: the HSM of this vault is simulated, and its PIN lies beside it; "
            "whoever copies the directory has every key"
        )
        say("hint: for real keys make a vault with --hsm pkcs11:…")
