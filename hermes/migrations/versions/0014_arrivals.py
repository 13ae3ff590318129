"""What repositories that are followed have told us, and their branches as they were seen."""

from alembic import op
import sqlalchemy as sa

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'arrival',
        sa.Column('id', number, nullable=False),
        sa.Column('repo_id', number, nullable=False),
        sa.Column('source', sa.String(), nullable=False),
        sa.Column('event', sa.String(), nullable=False),
        sa.Column('ref', sa.String(), nullable=False),
        sa.Column('sha', sa.String(), nullable=False),
        sa.Column('pull_request', sa.Integer(), nullable=True),
        sa.Column('sender', sa.String(), nullable=False),
        sa.Column('cause', sa.JSON(), nullable=False),
        sa.Column('state', sa.String(), nullable=False),
        sa.Column('reason', sa.String(), nullable=False),
        sa.Column('tries', sa.Integer(), nullable=False),
        sa.Column('next_at', sa.Double(), nullable=False),
        sa.Column('push_id', number, nullable=True),
        sa.Column('told_at', sa.Double(), nullable=True),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('ended_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(['push_id'], ['push.id']),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('arrival_due', 'arrival', ['state', 'next_at'])
    op.create_index('arrival_repo', 'arrival', ['repo_id', 'id'])
    op.create_table(
        'upstream_heads',
        sa.Column('repo_id', number, nullable=False),
        sa.Column('heads', sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.PrimaryKeyConstraint('repo_id'),
    )
    op.create_index('webhook_delivery_age', 'webhook_delivery', ['received_at'])
