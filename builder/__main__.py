"""`python -m builder`"""

from hermes.importing import uncollected

with uncollected():
    from builder.app import serve
    from hermes.process import main

main("builder", serve)
