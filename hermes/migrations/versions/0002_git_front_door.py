"""SSH keys, deploy tokens, the default branch and its protection."""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('ssh_key',
    sa.Column('id', Id, nullable=False),
    sa.Column('user_id', Id, nullable=False),
    sa.Column('fingerprint', sa.String(), nullable=False),
    sa.Column('public_key', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('last_used_at', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['user.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('fingerprint')
    )
    op.create_index(op.f('ix_ssh_key_user_id'), 'ssh_key', ['user_id'], unique=False)
    with op.batch_alter_table('token') as token:  # SQLite adds a key to a table only by copying it
        token.add_column(sa.Column('repo_id', Id, nullable=True))
        token.create_foreign_key('token_repo_id_fkey', 'repo', ['repo_id'], ['id'])
    op.add_column('repo', sa.Column('default_branch', sa.String(), nullable=False, server_default=''))
    op.add_column('repo', sa.Column('protected', sa.Boolean(), nullable=False, server_default=sa.false()))
    for branch in ('main', 'master'):  # the first one that a repository has
        op.execute(
            f"UPDATE repo SET default_branch = '{branch}' WHERE default_branch = '' AND EXISTS (SELECT 1 FROM push "
            f"WHERE push.repo_id = repo.id AND push.ref = 'refs/heads/{branch}' AND push.state = 'applied')"
        )
