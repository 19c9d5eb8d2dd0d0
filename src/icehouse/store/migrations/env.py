"""Runs migrations on the connection that `store.migrate` hands over."""

from alembic import context

handed = context.config.attributes
context.configure(connection=handed["connection"], version_table=handed["version_table"], transactional_ddl=False)
context.run_migrations()
