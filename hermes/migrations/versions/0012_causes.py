"""Why each push and each run exists."""

from alembic import op
import sqlalchemy as sa

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ('push', 'run'):
        op.add_column(table, sa.Column('cause', sa.JSON(), nullable=False, server_default='{}'))
