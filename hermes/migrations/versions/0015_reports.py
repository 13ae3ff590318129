"""What was last said of commits and pull requests to where they come from."""

from alembic import op
import sqlalchemy as sa

revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'report',
        sa.Column('repo_id', number, nullable=False),
        sa.Column('subject', sa.String(), nullable=False),
        sa.Column('said', sa.String(), nullable=False),
        sa.Column('remote_id', sa.String(), nullable=False),
        sa.Column('at', sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.PrimaryKeyConstraint('repo_id', 'subject'),
    )
    op.add_column('upstream', sa.Column('report_error', sa.String(), nullable=False, server_default=''))
    op.add_column('upstream', sa.Column('denied_at', sa.Double(), nullable=True))
