"""GPUs that are not given away until an operator says so."""

from alembic import op
import sqlalchemy as sa

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('runner', sa.Column('quarantine', sa.JSON(), nullable=False, server_default='{}'))
