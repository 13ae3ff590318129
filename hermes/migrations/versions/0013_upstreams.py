"""Repositories elsewhere that are followed, and what the service keeps sealed."""

from alembic import op
import sqlalchemy as sa

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'sealed',
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('ciphertext', sa.String(), nullable=False),
        sa.Column('updated_at', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('name'),
    )
    op.create_table(
        'upstream',
        sa.Column('repo_id', number, nullable=False),
        sa.Column('user_id', number, nullable=False),
        sa.Column('kind', sa.String(), nullable=False),
        sa.Column('base_url', sa.String(), nullable=False),
        sa.Column('api_url', sa.String(), nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('reports', sa.Boolean(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('delivered_at', sa.Double(), nullable=True),
        sa.Column('polled_at', sa.Double(), nullable=True),
        sa.Column('error', sa.String(), nullable=False),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.PrimaryKeyConstraint('repo_id'),
    )
