"""Files that start runs when they arrive, and folders that are watched for them."""

from alembic import op
import sqlalchemy as sa

revision = '0017'
down_revision = '0016'
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    undelivered = sa.text('watch_id IS NOT NULL AND delivered_at IS NULL')
    receiving = sa.text('run_id IS NULL')
    op.create_table(
        'watch',
        sa.Column('id', number, nullable=False),
        sa.Column('folder', sa.String(), nullable=False),
        sa.Column('out', sa.String(), nullable=False),
        sa.Column('function', sa.String(), nullable=False),
        sa.Column('user_id', number, nullable=False),
        sa.Column('error', sa.String(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('removed_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('folder'),
    )
    op.create_table(
        'upload',
        sa.Column('id', number, nullable=False),
        sa.Column('repo_id', number, nullable=False),
        sa.Column('user_id', number, nullable=False),
        sa.Column('function', sa.String(), nullable=False),
        sa.Column('what', sa.String(), nullable=False),
        sa.Column('name', sa.String(), nullable=False),
        sa.Column('size_bytes', number, nullable=False),
        sa.Column('sha256', sa.String(), nullable=False),
        sa.Column('token', sa.String(), nullable=False),
        sa.Column('run_id', number, nullable=True),
        sa.Column('watch_id', number, nullable=True),
        sa.Column('mark', sa.String(), nullable=False),
        sa.Column('created_at', sa.Double(), nullable=False),
        sa.Column('delivered_at', sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(['repo_id'], ['repo.id']),
        sa.ForeignKeyConstraint(['user_id'], ['user.id']),
        sa.ForeignKeyConstraint(['run_id'], ['run.id']),
        sa.ForeignKeyConstraint(['watch_id'], ['watch.id']),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('run_id'),
        sa.UniqueConstraint('watch_id', 'name', 'mark'),
    )
    op.create_index('upload_name', 'upload', ['repo_id', 'name', 'id'])
    op.create_index('upload_repo', 'upload', ['repo_id', 'id'])
    op.create_index('ix_upload_token', 'upload', ['token'])
    op.create_index('upload_receiving', 'upload', ['id'], sqlite_where=receiving, postgresql_where=receiving)
    op.create_index(
        'upload_undelivered', 'upload', ['watch_id'], sqlite_where=undelivered, postgresql_where=undelivered
    )
