"""Campaigns, their pages and findings, and how fast HSMs may be asked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _of_campaign() -> sa.Column[int]:
    return sa.Column("campaign", _NUMBER, sa.ForeignKey("campaigns.id"), primary_key=True, autoincrement=False)


def _big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _float(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "campaigns",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        _text("verb"),
        _text("terms"),
        sa.Column("under_way", sa.Text, unique=True),
        _text("state"),
        _big("matched"),
        _big("started"),
        _big("ended", nullable=True),
    )
    op.create_table(
        "pages",
        _of_campaign(),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        _big("first"),
        _big("last"),
        _integer("matched"),
        _text("state"),
        _big("token"),
        _text("worker"),
        _big("beat"),
        _big("not_before"),
        _integer("attempts"),
        _integer("done"),
        _integer("skipped"),
        _integer("failed"),
        _big("operations"),
    )
    op.create_index("pages_state", "pages", ["campaign", "state"])
    op.create_table(
        "findings",
        _of_campaign(),
        sa.Column("subject", sa.BigInteger, primary_key=True, autoincrement=False),
        _text("whose"),
        _text("reason"),
        _text("words"),
    )
    op.create_table(
        "hsm_rates",
        sa.Column("name", sa.Text, primary_key=True),
        _float("rate"),
        _float("tokens"),
        _float("at"),
        _big("rev"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _carry_pages()


def _carry_pages() -> None:
    """The tables and functions of procrastinate, which wakes workers; as the version that is installed has them."""
    from procrastinate.schema import SchemaManager  # noqa: PLC0415  SQLite needs none

    op.get_bind().exec_driver_sql(SchemaManager.get_schema().replace("%", "%%"))
