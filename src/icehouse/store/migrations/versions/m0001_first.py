"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _number(name: str = "id", *references: sa.ForeignKey) -> sa.Column[int]:
    return sa.Column(name, _NUMBER, *references, primary_key=True, autoincrement=False)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def _big(name: str, *, unique: bool | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, unique=unique)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "vault",
        _number(),
        _bytes("vault_id"),
        _text("custody"),
        _big("buckets"),
        _bytes("seal"),
        _big("next_data_key"),
        _big("next_key"),
    )
    op.create_table(
        "root_keys",
        sa.Column("label", sa.Text, primary_key=True),
        _text("role"),
        _integer("version"),
        _text("state"),
        sa.Column("superseded", sa.BigInteger),
        sa.Column("recoverable_until", sa.BigInteger),
    )
    op.create_table(
        "data_keys",
        _number("number"),
        _text("purpose"),
        _text("root_key"),
        _bytes("wrapped"),
        _text("state"),
        _integer("used"),
        _integer("live"),
    )
    op.create_index("data_keys_root_key", "data_keys", ["root_key"])
    op.create_table(
        "keys",
        _number(),
        _integer("rev"),
        _big("user_tag", unique=True),
        _big("key_tag", unique=True),
        _text("user"),
        _small("suite"),
        _big("generation"),
        _big("epoch"),
        _big("next_epoch"),
        _small("state"),
        _small("origin"),
        _small("attested"),
        _small("due"),
        _bytes("commitments"),
        _bytes("salt", nullable=True),
        _bytes("offer_id", nullable=True),
        _big("data_key"),
        _bytes("record"),
        _big("changed"),
    )
    op.create_table(
        "removals",
        _number("id", sa.ForeignKey("keys.id")),
        sa.Column("data_key", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "claims",
        _number("id", sa.ForeignKey("keys.id")),
        _big("data_key"),
        _bytes("record"),
    )
    op.create_table(
        "offers",
        _number("id", sa.ForeignKey("keys.id")),
        _big("epoch"),
        _bytes("commitments"),
        _bytes("offer_id"),
        _bytes("device_key"),
        _big("expires"),
        _bytes("payload"),
        _big("data_key"),
        _bytes("record"),
    )
