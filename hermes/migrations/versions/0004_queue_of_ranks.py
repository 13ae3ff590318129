"""Each rank has its own place in the queue; GPUs it holds and its own failures are counted; a runner tells its bounds."""

from alembic import op
import sqlalchemy as sa

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('rank', sa.Column('queue_key', sa.Double(), nullable=False, server_default='0'))
    op.add_column('rank', sa.Column('shape', sa.String(), nullable=False, server_default=''))
    op.add_column('rank', sa.Column('gpu_count', sa.Integer(), nullable=False, server_default='0'))
    op.add_column('rank', sa.Column('failures', sa.Integer(), nullable=False, server_default='0'))
    op.execute('UPDATE rank SET queue_key = (SELECT queue_key FROM run WHERE run.id = rank.run_id) + 60.0 * number')
    op.drop_index('ix_rank_state', table_name='rank')  # SQLite would take it, and sort
    op.create_index('rank_queue', 'rank', ['state', 'queue_key', 'id'], unique=False)
    op.create_index('rank_shape', 'rank', ['state', 'shape'], unique=False)
    op.add_column('runner', sa.Column('uses', sa.JSON(), nullable=False, server_default='{}'))
    op.add_column('runner', sa.Column('bounds', sa.JSON(), nullable=False, server_default='{}'))
    op.drop_column('run', 'priority')  # it was never set
