"""What a process of an instance is called: `ps` and `top` show it, and `hermes doctor` knows it by that."""

from pathlib import Path

from setproctitle import setproctitle


def title(name: str, data: Path) -> str:
    """`name`: as in the Procfile; `data`: the directory of its instance."""
    return f"hermes {name} {data.absolute()}"


def set_title(name: str, data: Path) -> None:
    """Of this process. The environment with which it was started can no longer be read from outside."""
    setproctitle(title(name, data))
