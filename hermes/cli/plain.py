"""A server's words on a terminal."""


def clean(text: str) -> str:
    """One line, and nothing that steers the terminal."""
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
