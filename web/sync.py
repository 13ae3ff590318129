"""Answers of an invocation that is waited for: raw bytes with trailers, binary frames, or server-sent events.

Frames are as Docker's attach has them: kind (1 stdout, 2 stderr, 3 a JSON event), rank (24 bits), length (32
bits), both big endian, and the bytes."""

import base64
import json
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from sqlalchemy import bindparam, case, select
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from hermes.errors import TooMany
from hermes.http_trailers import BREAK_OFF, TRAILERS
from hermes.logs import STDERR, STDOUT
from hermes.patience import patiently
from hermes.states import State
from hermes.tables import Rank, Run, User
from web.answers import RunAnswer
from web.lookup import find_run
from web.outcome import Outcomes
from web.outflow import Had, Outflow, Told, Wrote
from web.runs import WHOLE, run_details
from web.shapes import run_answer
from web.site import Site

FRAMES = "application/vnd.hermes.frames"
_EVENT = 3
_HEAD = struct.Struct(">II")  # kind and rank share a word
_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_WAIT_S = 5.0
#: Of a run that is over: the rank that speaks for it is the first that failed, else the first (web.details).
_END = (
    select(Run.state, Rank.exit_code)
    .join(Rank, Rank.run_id == Run.id)
    .where(Run.id == bindparam("run"))
    .order_by(case((Rank.exit_code != 0, 0), else_=1), Rank.number)
    .limit(1)
)


def frame(kind: int, rank: int, data: bytes) -> bytes:
    """One."""
    return _HEAD.pack(kind << 24 | rank, len(data)) + data


async def record_of(site: Site, user: User, run_id: int) -> RunAnswer:
    """As `GET /api/v1/runs/{n}`. Raises NotFound."""
    async with site.context.database.read() as session:
        run, place = await find_run(session, user, run_id)
        details = await run_details(session, user, run, place, WHOLE)
        return run_answer(details, site.context.settings.public_url)


def check_room(site: Site, outcomes: Outcomes, user: User) -> None:
    """Raises TooMany for who waits for many already."""
    most = site.context.settings.user_calls
    if most and outcomes.waiting.of(str(user.id)) >= most:
        raise TooMany(f"{user.name} waits for {most} invocations already (HERMES_USER_CALLS)", _WAIT_S)


class Call:
    """Somebody who waits for a run; `had`: what they have of its ranks."""

    def __init__(
        self, site: Site, outcomes: Outcomes, user: User, run_id: int, had: Mapping[int, Had] | None = None
    ) -> None:
        self._site, self._outcomes, self._user, self._run_id = site, outcomes, user, run_id
        self._had = had or {}

    def answer(self, request: Request) -> Response:
        """In the form that `Accept` asks for."""
        accept = request.headers.get("accept", "")
        headers = {
            "X-Hermes-Run": str(self._run_id),
            "Location": f"/api/v1/runs/{self._run_id}",
            "X-Accel-Buffering": "no",
        }
        if FRAMES in accept:
            return StreamingResponse(self._events(_as_frame), headers=headers, media_type=FRAMES)
        if "text/event-stream" in accept:
            return StreamingResponse(self._events(_as_event), headers=headers, media_type="text/event-stream")
        return _Raw(self, headers)

    async def _flow(self, only: int | None = None) -> AsyncGenerator[Told | Wrote]:
        with self._outcomes.waiting.one_more(str(self._user.id)):
            async with self._outcomes.watch(self._run_id) as watched:
                flow = Outflow(self._site.context.paths, watched, self._site.closing)
                for rank, had in self._had.items():
                    flow.leave_out(rank, had)
                async with aclosing(flow.pieces(only)) as pieces:
                    async for piece in pieces:
                        yield piece

    async def _events(self, form: Any) -> AsyncIterator[bytes]:
        yield form(Told({"event": "run", "run": await patiently(self.record)}))
        async with aclosing(self._flow()) as pieces:
            async for piece in pieces:
                yield form(piece)
                if isinstance(piece, Told) and piece.about["event"] == "reconnect":
                    return
        yield form(Told({"event": "end", "run": await patiently(self.record)}))

    async def record(self) -> dict[str, Any]:
        """What is known of the run now."""
        return (await record_of(self._site, self._user, self._run_id)).model_dump(mode="json")

    async def end(self) -> tuple[State, int | None]:
        """Its state and its exit code, as in its record, which takes ten times as long."""
        database = self._site.context.database
        state, code = (await database.read_at_once(lambda ask: ask(_END, run=self._run_id)))[0]
        return state, code

    async def stdout(self) -> AsyncIterator[bytes | None]:
        """Of all ranks, one after another; None: what came is not to be trusted, or not all."""
        async with self._outcomes.watch(self._run_id) as watched:
            numbers = [rank.number for rank in watched.ranks]
        for number in numbers:
            async with aclosing(self._flow(number)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Wrote) and piece.stream == STDOUT:
                        yield piece.data
                    elif isinstance(piece, Told) and piece.about["event"] in ("attempt", "reconnect"):
                        yield None
                        return


class _Raw(StreamingResponse):
    """Stdout and nothing else; how it ended stands in trailers."""

    def __init__(self, call: Call, headers: dict[str, str]) -> None:
        trailer = {"Trailer": "X-Hermes-State, X-Hermes-Exit-Code"}
        super().__init__(call.stdout(), headers=headers | trailer, media_type="application/octet-stream")  # type: ignore[arg-type]
        self._call = call

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for data in self.body_iterator:
            if data is None:
                await send({"type": BREAK_OFF})
                return
            await send({"type": "http.response.body", "body": data, "more_body": True})
        state, code = await patiently(self._call.end)
        trailers = {
            "x-hermes-state": state,
            "x-hermes-exit-code": "" if code is None else str(code),
        }
        pairs = [(name.encode(), value.encode()) for name, value in trailers.items()]
        await send({"type": TRAILERS, "headers": pairs, "more_trailers": False})


def _as_frame(piece: Told | Wrote) -> bytes:
    if isinstance(piece, Wrote):
        return frame(piece.stream, piece.rank, piece.data)
    return frame(_EVENT, 0, json.dumps(piece.about).encode())


def _as_event(piece: Told | Wrote) -> bytes:
    if isinstance(piece, Wrote):
        data: Any = {"rank": piece.rank, "data": base64.b64encode(piece.data).decode()}
        return f"event: {_NAMES[piece.stream]}\ndata: {json.dumps(data)}\n\n".encode()
    event = piece.about["event"]
    if event == "alive":
        return b": alive\n\n"
    data = piece.about.get("run", piece.about)
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()
