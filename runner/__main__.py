"""`python -m runner`"""

from hermes.process import main
from runner.app import serve

main("runner", serve)
