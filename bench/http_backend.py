"""`git http-backend`, git's own server over HTTP, behind the same uvicorn and starlette as ours.

The oracle of the tests (what git itself would have done) and the rival of the bench. As a program:
`python -m bench.http_backend FOLDER PORT` serves every repository under FOLDER, for pushes too, to anybody.
CGI as https://git-scm.com/docs/git-http-backend describes it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import uvicorn
from anyio import CancelScope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hermes.git import git_env
from hermes.http import http_protocol

_CONFIG = {"http.receivepack": "true", "core.fsync": "all", "receive.fsckObjects": "true"}


def _environment(folder: Path, request: Request) -> dict[str, str]:
    """What CGI asks for, and the settings as git takes them from its environment."""
    flags = {"GIT_CONFIG_COUNT": str(len(_CONFIG))}
    for number, (key, value) in enumerate(_CONFIG.items()):
        flags |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    wanted = {
        "CONTENT_TYPE": "content-type",
        "CONTENT_LENGTH": "content-length",
        "HTTP_CONTENT_ENCODING": "content-encoding",
        "GIT_PROTOCOL": "git-protocol",
    }
    sent = {name: request.headers[header] for name, header in wanted.items() if header in request.headers}
    return git_env(
        flags
        | sent
        | {
            "GIT_PROJECT_ROOT": str(folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.url.path,
            "QUERY_STRING": request.url.query,
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": "anybody",
            "REMOTE_ADDR": "127.0.0.1",
        }
    )


async def _feed(child: asyncio.subprocess.Process, request: Request) -> None:
    assert child.stdin is not None
    try:
        async for chunk in request.stream():
            child.stdin.write(chunk)
            await child.stdin.drain()
        child.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass


async def _rest(child: asyncio.subprocess.Process, first: bytes) -> AsyncIterator[bytes]:
    assert child.stdout is not None
    try:
        yield first
        while chunk := await child.stdout.read(1 << 16):
            yield chunk
        await child.wait()
    finally:
        await end(child)


async def end(child: asyncio.subprocess.Process) -> None:
    """Also of one whose client has gone: whoever answers it is cancelled, again at each wait."""
    with suppress(ProcessLookupError):
        child.kill()
    with CancelScope(shield=True):
        await child.communicate()


async def _begin(child: asyncio.subprocess.Process) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and the first bytes."""
    assert child.stdout is not None
    status, headers = 200, {}
    while (line := (await child.stdout.readline()).strip()) != b"":
        name, _, value = line.decode("latin-1").partition(": ")
        if name == "Status":
            status = int(value.split()[0])
        else:
            headers[name] = value
    return status, headers, await child.stdout.read(1 << 16)


def make_app(folder: Path) -> Starlette:
    """Everything under `folder`, by path."""

    async def serve(request: Request) -> Response:
        child = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            env=_environment(folder, request),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        try:
            await _feed(child, request)
            status, headers, first = await _begin(child)
        except BaseException:
            await end(child)
            raise
        return StreamingResponse(_rest(child, first), status, headers)

    return Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])])


def main() -> None:
    """`python -m bench.http_backend FOLDER PORT`"""
    folder, port = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    uvicorn.run(make_app(folder), port=port, log_level="warning", loop="asyncio", http=http_protocol())


if __name__ == "__main__":
    main()
