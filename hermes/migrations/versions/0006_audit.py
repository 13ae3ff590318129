"""What people did that matters later: the audit log; accounts can be disabled."""

from alembic import op
import sqlalchemy as sa

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('user', sa.Column('disabled_at', sa.Double(), nullable=True))
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'audit',
        sa.Column('id', number, nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.Column('user', sa.String(), nullable=False),
        sa.Column('address', sa.String(), nullable=False),
        sa.Column('act', sa.String(), nullable=False),
        sa.Column('subject', sa.String(), nullable=False),
        sa.Column('detail', sa.String(), nullable=False),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('ix_audit_user', 'audit', ['user'], unique=False)
    op.create_index('ix_audit_act', 'audit', ['act'], unique=False)
