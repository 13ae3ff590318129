"""`python -m builder`"""

from hermes.importing import uncollected

with uncollected():
    from builder.app import serve
    from hermes import process


def main() -> None:
    """Until it is told to end."""
    process.main("builder", serve)


if __name__ == "__main__":
    main()
