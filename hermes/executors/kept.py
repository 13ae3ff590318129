"""Images of ours that an engine keeps, those that were used last; and containers that make or show one."""

import time
from contextlib import suppress
from typing import Any

from docker.errors import APIError, ImageNotFound

from hermes.executors.engine import remove_container

#: Begin the names of containers; no label marks those, or boxes would inherit it.
MAKING, LOOKING = "hermes-packages-", "hermes-dockerfiles-"
_OLD_S = 3600.0
_CALL_S = 60.0


def touch(api: Any, image: str) -> bool:
    """Whether it is there. It was used now: those that are not are the first to go."""
    repository, _, tag = image.rpartition(":")
    try:
        api.tag(image, repository, tag)
    except ImageNotFound:
        return False
    return True


def keep_newest(api: Any, repository: str, most: int) -> None:
    """Remove the others of it."""
    images = [api.inspect_image(each["Id"]) for each in api.images(repository)]
    images.sort(
        key=lambda each: max(each["Metadata"].get("LastTagTime") or "", each["Created"]), reverse=True
    )
    for tag in (tag for each in images[most:] for tag in each["RepoTags"]):
        if tag.startswith(f"{repository}:"):  # it may have other names, which are not ours
            with suppress(APIError):  # something runs in it
                api.remove_image(tag)


def clear(api: Any, container: str) -> None:
    """One of that name is of a process that was killed; so are old ones of other names."""
    remove_container(api, container, _CALL_S)
    for each in api.containers(all=True, filters={"name": f"^/({MAKING}|{LOOKING})"}):
        if each["State"] != "running" and each["Created"] < time.time() - _OLD_S:
            remove_container(api, each["Id"], _CALL_S)
