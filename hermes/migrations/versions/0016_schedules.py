"""Schedules of repositories, and what each push says of them."""

from alembic import op
import sqlalchemy as sa

revision = '0016'
down_revision = '0015'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.add_column('push', sa.Column('schedules', sa.JSON(), nullable=True))
    op.create_table(
        'schedule',
        sa.Column('id', number, nullable=False),
        sa.Column('repo_id', number, nullable=False),
        sa.Column('position', number, nullable=False),
        sa.Column('cron', sa.String(), nullable=False),
        sa.Column('timezone', sa.String(), nullable=False),
        sa.Column('overlap', sa.String(), nullable=False),
        sa.Column('args', sa.JSON(), nullable=True),
        sa.Column('user_id', number, nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('next_at', sa.Double(), nullable=False),
        sa.Column('last_at', sa.Double(), nullable=True),
        sa.Column('last_run_id', number, nullable=True),
        sa.Column('outcome', sa.String(), nullable=False),
        sa.Column('paused_at', sa.Double(), nullable=True),
        sa.Column('paused_by', sa.String(), nullable=False),
        sa.Column('paused_why', sa.String(), nullable=False),
        sa.ForeignKeyConstraint(['last_run_id'], ['run.id']),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('repo_id', 'position'),
    )
    op.create_index('schedule_due', 'schedule', ['paused_at', 'next_at'])
