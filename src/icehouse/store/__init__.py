"""The vault's database: one schema for SQLite and PostgreSQL, every write conditional."""

from icehouse.store.data_keys import DataKeyFullError, DataKeyGoneError
from icehouse.store.vault_store import VaultStore

__all__ = ["DataKeyFullError", "DataKeyGoneError", "VaultStore"]
