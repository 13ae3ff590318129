"""`python -m builder`"""

from builder.app import serve
from hermes.process import main

main("builder", serve)
