"""The vault's database: one schema for SQLite and PostgreSQL, every write conditional."""

from icehouse.store.vault_store import DataKeyFullError, VaultRecord, VaultStore

__all__ = ["DataKeyFullError", "VaultRecord", "VaultStore"]
