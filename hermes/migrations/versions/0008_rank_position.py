"""Ranks have a place in their run besides their number: those that run again keep their numbers. Who held a place while others waited is found by an index."""

from alembic import op
import sqlalchemy as sa

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('rank', sa.Column('position', sa.Integer(), nullable=False, server_default='0'))
    op.execute('UPDATE rank SET position = number')
    claimed = sa.text('claimed_at IS NOT NULL')
    op.create_index(
        'rank_claimed', 'rank', ['claimed_at', 'ended_at'], unique=False, sqlite_where=claimed, postgresql_where=claimed
    )
    op.create_index('rank_position', 'rank', ['run_id', 'position'], unique=True)
