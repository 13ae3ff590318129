"""The tags of repositories that are followed, as they were seen; runs that somebody keeps."""

from alembic import op
import sqlalchemy as sa

revision = '0020'
down_revision = '0019'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('upstream_heads', sa.Column('tags', sa.JSON(), nullable=True))
    op.add_column('run', sa.Column('kept_at', sa.Double(), nullable=True))
    op.add_column('run', sa.Column('kept_by', sa.String(), nullable=False, server_default=''))
