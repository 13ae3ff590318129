"""Retention: what was removed to make room; artifacts are found by their digest."""

from alembic import op
import sqlalchemy as sa

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'removal',
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('subject_id', number, nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.Column('why', sa.String(), nullable=False),
        sa.Column('done_at', sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint('kind', 'subject_id'),
    )
    pending = sa.text('done_at IS NULL')
    op.create_index(
        'removal_unfinished', 'removal', ['done_at'], unique=False, sqlite_where=pending, postgresql_where=pending
    )
    op.create_index('ix_artifact_sha256', 'artifact', ['sha256'], unique=False)
