"""Repositories elsewhere that are fetched over SSH, with a deploy key."""

from alembic import op
import sqlalchemy as sa

revision = '0019'
down_revision = '0018'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ('ssh', 'host_key', 'public_key'):
        op.add_column('upstream', sa.Column(name, sa.String(), nullable=False, server_default=''))
