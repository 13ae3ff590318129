"""Figures that programs print; what a build is called; lists of one repo, user, branch or commit are read in their order, by an index."""

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table('metric',
    sa.Column('rank_id', Id, nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('value', sa.Double(), nullable=False),
    sa.Column('unit', sa.String(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['rank_id'], ['rank.id'], ),
    sa.PrimaryKeyConstraint('rank_id', 'name')
    )
    for key in ('name', 'version'):
        op.add_column('build', sa.Column(key, sa.String(), nullable=False, server_default=''))
        word = f"json_extract(plan, '$.{key}')" if op.get_bind().dialect.name == 'sqlite' else f"plan ->> '{key}'"
        op.execute(f"UPDATE build SET {key} = coalesce({word}, '')")
    op.create_index('build_function', 'build', ['repo_id', 'name', 'version', 'state', 'id'], unique=False)
    for name, table in (('repo_id', 'push'), ('repo_id', 'run'), ('build_id', 'run'), ('user_id', 'run')):
        op.drop_index(f'ix_{table}_{name}', table_name=table)  # the beginning of one of those below
    op.create_index('push_repo', 'push', ['repo_id', 'id'], unique=False)
    op.create_index('push_ref', 'push', ['repo_id', 'ref', 'id'], unique=False)
    op.create_index('push_commit', 'push', ['repo_id', 'new_sha'], unique=False)
    op.create_index('build_repo', 'build', ['repo_id', 'id'], unique=False)
    op.create_index('build_user', 'build', ['user_id', 'id'], unique=False)
    op.create_index('run_repo', 'run', ['repo_id', 'id'], unique=False)
    op.create_index('run_repo_state', 'run', ['repo_id', 'state', 'id'], unique=False)
    op.create_index('run_build', 'run', ['build_id', 'id'], unique=False)
    op.create_index('run_user', 'run', ['user_id', 'id'], unique=False)
