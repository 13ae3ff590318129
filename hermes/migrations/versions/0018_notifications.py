"""Who is told how runs ended, and what came of telling."""

from alembic import op
import sqlalchemy as sa

revision = '0018'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.add_column('outbox', sa.Column('lane', sa.String(), nullable=False, server_default=''))
    op.create_index('outbox_lane', 'outbox', ['lane', 'id'], unique=False)
    op.create_table(
        'notification',
        sa.Column('id', number, nullable=False),
        sa.Column('user_id', number, nullable=False),
        sa.Column('repo_id', number, nullable=True),
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('shown', sa.String(), nullable=False),
        sa.Column('events', sa.String(), nullable=False),
        sa.Column('branches', sa.JSON(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('taken_at', sa.Double(), nullable=True),
        sa.Column('error', sa.String(), nullable=False),
        sa.Column('paused_at', sa.Double(), nullable=True),
        sa.Column('paused_why', sa.String(), nullable=False),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('notification_repo', 'notification', ['repo_id', 'id'], unique=False)
    op.create_index('notification_user', 'notification', ['user_id', 'id'], unique=False)
    op.create_table(
        'notice_attempt',
        sa.Column('id', number, nullable=False),
        sa.Column('notification_id', number, nullable=False),
        sa.Column('outbox_id', number, nullable=True),
        sa.Column('event', sa.String(), nullable=False),
        sa.Column('run_id', number, nullable=True),
        sa.Column('status', sa.Integer(), nullable=True),
        sa.Column('error', sa.String(), nullable=False),
        sa.Column('duration_s', sa.Double(), nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(['notification_id'], ['notification.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('notice_attempt_of', 'notice_attempt', ['notification_id', 'id'], unique=False)
