"""Signs of life of the builder and the runner; what was counted of the journal of events so far."""

from alembic import op
import sqlalchemy as sa

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'process',
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('host', sa.String(), nullable=False),
        sa.Column('executor', sa.String(), nullable=False),
        sa.Column('trouble', sa.String(), nullable=False),
        sa.Column('missed_rings', number, nullable=False),
        sa.Column('memory_bytes', number, nullable=False),
        sa.Column('seen_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('kind', 'host'),
    )
    counted = op.create_table(
        'counted',
        sa.Column('id', number, nullable=False),
        sa.Column('last_event', number, nullable=False),
        sa.Column('counts', sa.JSON(), nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('id'),
    )
    op.bulk_insert(counted, [{'id': 1, 'last_event': 0, 'counts': {}, 'at': 0.0}])  # `/readyz` writes to it
