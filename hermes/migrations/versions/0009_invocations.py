"""Invocations: inputs, idempotency keys, callbacks; functions can be deleted."""

from alembic import op
import sqlalchemy as sa

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'input',
        sa.Column('run_id', number, nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('token', sa.String(), nullable=False),
        sa.Column('size_bytes', number, nullable=False),
        sa.ForeignKeyConstraint(['run_id'], ['run.id']),
        sa.PrimaryKeyConstraint('run_id', 'name'),
    )
    op.create_index('ix_input_token', 'input', ['token'], unique=False)
    op.create_table(
        'idempotency_key',
        sa.Column('user_id', number, nullable=False),
        sa.Column('key', sa.String(), nullable=False),
        sa.Column('request_sha256', sa.String(), nullable=False),
        sa.Column('run_id', number, nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.ForeignKeyConstraint(['run_id'], ['run.id']),
        sa.PrimaryKeyConstraint('user_id', 'key'),
    )
    op.create_index('ix_idempotency_key_created_at', 'idempotency_key', ['created_at'], unique=False)
    op.add_column('build', sa.Column('deleted_at', sa.Double(), nullable=True))
    op.add_column('run', sa.Column('callback_url', sa.String(), nullable=False, server_default=''))
    op.add_column('outbox', sa.Column('next_at', sa.Double(), nullable=False, server_default='0'))
    op.add_column('outbox', sa.Column('error', sa.String(), nullable=False, server_default=''))
    op.create_index('outbox_due', 'outbox', ['topic', 'sent_at', 'next_at'], unique=False)
