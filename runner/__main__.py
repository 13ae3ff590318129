"""`python -m runner`"""

from hermes.importing import uncollected

with uncollected():
    from hermes import process
    from runner.app import serve


def main() -> None:
    """Until it is told to end."""
    process.main("runner", serve)


if __name__ == "__main__":
    main()
