"""Runs migrations on the connection that `hermes.schema` hands over."""

from alembic import context

from hermes.tables import User

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=User.metadata, transactional_ddl=False)
context.run_migrations()
