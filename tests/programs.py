"""Repositories whose program is a shell script: they build in no time and say what they are told to say."""


def shell(program: str, manifest: str = "", make: str = "\t@true") -> dict[str, str | bytes]:
    """A repo with a Makefile, `main.sh` and a manifest that runs it."""
    return {
        "Makefile": f"all:\n{make}\n",
        "main.sh": program,
        "hermes.toml": f'handler = "sh main.sh"\n{manifest}',
    }
