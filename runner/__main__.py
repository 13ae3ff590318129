"""`python -m runner`"""

from hermes.importing import uncollected

with uncollected():
    from hermes.process import main
    from runner.app import serve

main("runner", serve)
