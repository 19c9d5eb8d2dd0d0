"""The tables. Rows are compact: millions of them are the point.

A key's row is found by two 64-bit tags, hashes of its user and of its key id: half as wide as a key id and far
narrower than a name. A tag is only a way to the row; what the row says is checked against the whole name or id.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

metadata = MetaData()

# SQLite gives a row's number away for nothing only where the column is exactly INTEGER PRIMARY KEY.
_Number = BigInteger().with_variant(Integer, "sqlite")

vault = Table(
    "vault",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("vault_id", LargeBinary, nullable=False),
    Column("custody", Text, nullable=False),
    # How many nodes a hierarchical vault's users share; 0 for one each, and for other custodies.
    Column("buckets", BigInteger, nullable=False),
    Column("seal", LargeBinary, nullable=False),
    Column("next_data_key", BigInteger, nullable=False),
    Column("next_key", BigInteger, nullable=False),
)

# The keys inside the HSM that this vault made or is about to make. The row is there before the key is, so that a
# crash leaves no key in an HSM that nobody can name.
root_keys = Table(
    "root_keys",
    metadata,
    Column("label", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    # Seconds since 1970: when it stopped being current, and until when its HSM could bring it back.
    Column("superseded", BigInteger),
    Column("recoverable_until", BigInteger),
)

data_keys = Table(
    "data_keys",
    metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("purpose", Text, nullable=False),
    Column("root_key", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    # `used` only grows: a data key never seals more records than its limit, whatever leaves it again.
    Column("used", Integer, nullable=False),
    Column("live", Integer, nullable=False),
    # In a direct vault every user has a root key, and data keys are looked up by it at every offer.
    Index("data_keys_root_key", "root_key"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("rev", Integer, nullable=False),
    Column("user_tag", BigInteger, nullable=False, unique=True),
    Column("key_tag", BigInteger, nullable=False, unique=True),
    Column("user", Text, nullable=False),
    Column("suite", SmallInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("next_epoch", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("origin", SmallInteger, nullable=False),
    Column("attested", SmallInteger, nullable=False),
    # The day since 1970 from which a rotation is due, 0 for none: in days it takes two bytes, and a table of its own
    # would take twenty. Below zero where the offer that stands does not settle it.
    Column("due", SmallInteger, nullable=False),
    Column("commitments", LargeBinary, nullable=False),
    # The salt of the enrolment code in force, until the first commit; then the offer that made the epoch.
    Column("salt", LargeBinary),
    Column("offer_id", LargeBinary),
    Column("data_key", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    # Seconds since 1970. It decides nothing about a share.
    Column("changed", BigInteger, nullable=False),
)

# The data keys under which a destroyed key's records stood: it is destroyed for good when they are.
removals = Table(
    "removals",
    metadata,
    Column("id", _Number, ForeignKey("keys.id"), primary_key=True, autoincrement=False),
    Column("data_key", BigInteger, primary_key=True, autoincrement=False),
)

claims = Table(
    "claims",
    metadata,
    Column("id", _Number, ForeignKey("keys.id"), primary_key=True, autoincrement=False),
    Column("data_key", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("id", _Number, ForeignKey("keys.id"), primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("commitments", LargeBinary, nullable=False),
    Column("offer_id", LargeBinary, nullable=False),
    Column("device_key", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("data_key", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)

# One verb applied to many keys. `under_way` is the verb until the campaign is done or cancelled: there is one of each.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=False),
    Column("verb", Text, nullable=False),
    Column("terms", Text, nullable=False),
    Column("under_way", Text, unique=True),
    Column("state", Text, nullable=False),
    Column("matched", BigInteger, nullable=False),
    # Seconds since 1970.
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
)

# A page of a campaign: the rows from `first` to `last`. Whoever holds it knows its token; taking it over changes that.
pages = Table(
    "pages",
    metadata,
    Column("campaign", _Number, ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("matched", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    # Seconds since 1970: the last sign of life, and until when a page that failed is left alone.
    Column("beat", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("operations", BigInteger, nullable=False),
    Index("pages_state", "campaign", "state"),
)

# What a campaign could not do, and why: one row for each key, or data key, that it failed on.
findings = Table(
    "findings",
    metadata,
    Column("campaign", _Number, ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
    Column("subject", BigInteger, primary_key=True, autoincrement=False),
    Column("whose", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("words", Text, nullable=False),
)

# A token bucket for each HSM, shared by every worker on every machine. Times are seconds since 1970.
hsm_rates = Table(
    "hsm_rates",
    metadata,
    Column("name", Text, primary_key=True),
    Column("rate", Float, nullable=False),
    Column("tokens", Float, nullable=False),
    Column("at", Float, nullable=False),
    Column("rev", BigInteger, nullable=False),
)
