"""A repository's own Dockerfile (`build.dockerfile`): who may have one, and what its image is called."""

import hashlib
import json
from collections.abc import Set

from hermes.errors import Refused

REPOSITORY = "hermes/dockerfiles"  # of an engine
OFF = "custom Dockerfiles are off on this instance"
ASK = "ask the operator to set HERMES_DOCKERFILES=on, or take an image that is offered (`hermes images`)"


def image_of(commit_sha: str, path: str) -> str:
    """The same for the same tree, whoever pushes it."""
    inputs = json.dumps([commit_sha, path]).encode()
    return f"{REPOSITORY}:{hashlib.sha256(inputs).hexdigest()[:32]}"


def check_dockerfile(path: str, tree: Set[str], *, is_on: bool, has_engine: bool) -> None:
    """Raises Refused where it cannot be used."""
    if not is_on:
        raise Refused(f"build.dockerfile = {path!r}: {OFF}", ASK)
    if not has_engine:
        raise Refused(
            f"build.dockerfile = {path!r}: this instance has no container engine to build it",
            "leave the key out: programs are built and run by the machine itself here",
        )
    if path not in tree:
        raise Refused(
            f"build.dockerfile = {path!r}: no such file in this commit", "commit it, or leave the key out"
        )
