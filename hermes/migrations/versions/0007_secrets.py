"""Secrets of repositories and users, and the names of those that an attempt got."""

from alembic import op
import sqlalchemy as sa

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.add_column('rank', sa.Column('secrets', sa.JSON(), nullable=True))
    op.create_table(
        'secret',
        sa.Column('id', number, nullable=False),
        sa.Column('user_id', number, nullable=False),
        sa.Column('repo_id', number, nullable=True),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('ciphertext', sa.String(), nullable=False),
        sa.Column('branches', sa.JSON(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('updated_at', sa.Double(), nullable=False),
        sa.Column('last_used_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('secret_of_repo', 'secret', ['repo_id', 'name'], unique=True)
    nobodys = sa.text('repo_id IS NULL')
    op.create_index(
        'secret_of_user', 'secret', ['user_id', 'name'], unique=True, sqlite_where=nobodys, postgresql_where=nobodys
    )
