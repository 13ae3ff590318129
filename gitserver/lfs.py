"""Git LFS: this server keeps no LFS objects. Who pushes pointers is told which, and how to push the files.

Formats: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md (pointers) and docs/api/batch.md."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hermes.objects import Objects
from hermes.tree import Entry

_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_MAX_POINTER = 1024  # the specification's bound
_MAX_LOOKS = 2000
_ATTRIBUTES, _MAX_ATTRIBUTES = ".gitattributes", 1 << 20
_SHOWN = 5
WORDS = (
    "this server keeps no Git LFS objects; put the files themselves into the commit: "
    "`git lfs untrack PATTERN`, `git add --renormalize .`, commit, and push with `git push --no-verify`"
)


def warnings(objects: Objects, entries: dict[str, Entry]) -> list[str]:
    """A line for the LFS pointers in a tree, if there are any."""
    if not _uses_lfs(objects, entries):
        return []
    small = [entry for entry in entries.values() if entry.is_file and 0 < entry.size_bytes < _MAX_POINTER]
    found = [entry.path for entry in small[:_MAX_LOOKS] if objects.read(entry.sha).startswith(_POINTER)]
    if not found:
        return []
    names = ", ".join(f"{path!a}"[1:-1] for path in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    what = "is a Git LFS pointer, not the file" if len(found) == 1 else "are Git LFS pointers, not the files"
    return [f"{names}{more} {what}: {WORDS}"]


def _uses_lfs(objects: Objects, entries: dict[str, Entry]) -> bool:
    attributes = [
        entry
        for path, entry in entries.items()
        if path.rpartition("/")[2] == _ATTRIBUTES and entry.is_file and entry.size_bytes <= _MAX_ATTRIBUTES
    ]
    return any(b"filter=lfs" in objects.read(entry.sha) for entry in attributes[:_SHOWN])


async def answer(_request: Request) -> Response:
    """What git-lfs is told when it wants to upload or lock something, in the form that it shows."""
    return JSONResponse({"message": WORDS}, 501, media_type="application/vnd.git-lfs+json")
