"""The client that waits; each method is one request. `hermes.client.asynchronous` is made from this file."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from hermes.client import calls
from hermes.client.answers import Artifact, Build, Deleted, Function, Run, User, Version, Versions
from hermes.client.calls import Call
from hermes.client.errors import BrokenOff
from hermes.client.frames import Event, Frame, FrameReader
from hermes.client.invocation import Invocation, function_path
from hermes.client.wire import Wire


class Client:
    """One server, one token. Every method may raise NoServer, BrokenOff, OtherServer, Unauthorized and
    ServerTrouble besides what it says."""

    def __init__(self, url: str, token: str = "") -> None:
        """Raises NoServer where `url` is no address. Nothing is asked yet."""
        self.url, self.token = calls.address_of(url), token
        self._wire = Wire(self.url, calls.headers_of(token))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def ask(self, call: Call) -> Any:
        """The JSON that answers a request. Raises ApiError."""
        with self._wire.open(call) as answer:
            answer.read()
        return calls.read(answer)

    def stream(self, call: Call) -> Iterator[bytes]:
        """The bytes that answer a request; none if its range begins at the end. Raises ApiError."""
        with self._wire.open(call, follows=call.method == "GET") as answer:
            if answer.status == 416:
                return
            if not answer.is_good:
                answer.read()
                raise calls.refusal(answer) or AssertionError
            for data in answer.pieces():
                yield data

    def version(self) -> Version:
        """Which program answers. Raises OtherServer where its API is another one than this client's."""
        said: Version = self.ask(Call("GET", "/version"))
        calls.check_version(said)
        return said

    def user(self) -> User:
        """Who the token acts for. Raises Unauthorized."""
        said: User = self.ask(Call("GET", "/user"))
        return said

    def invoke(self, invocation: Invocation) -> Iterator[Frame]:
        """Start a run and follow it: first the event `run`, then what it writes, last the event `end`.
        Raises Missing, Forbidden, TooOften, TooLarge; BrokenOff when it ends too early: the run goes on."""
        reader, ended = FrameReader(), False
        for data in self.stream(invocation.call("sync")):
            for frame in reader.feed(data):
                ended = ended or (isinstance(frame, Event) and frame.name == "end")
                yield frame
        if not ended:
            raise BrokenOff(f"{self.url} has ended the answer before the run did")

    def start(self, invocation: Invocation, wait_s: float = 0.0) -> Run:
        """Start a run; its record now, or when it has ended within `wait_s`. Raises as `invoke`."""
        run: Run = self.ask(invocation.call("async", wait_s))
        return run

    def runs(self, most: int = 30, **filters: str) -> Iterator[Run]:
        """Runs that you may see, the newest first: `state`, `function`, `repo`, `trigger`, `user`, `commit`,
        `since`, `until` choose among them. Raises ApiError where a filter has no meaning."""
        params = [*filters.items(), ("limit", str(min(most, 100)))]
        while most > 0:
            page = self.ask(Call("GET", "/runs", params))
            for run in page["runs"][:most]:
                yield run
            most -= len(page["runs"])
            if not page["next"]:
                return
            params = calls.query_of(page["next"])

    def run(self, number: int) -> Run:
        """One run. Raises Missing."""
        run: Run = self.ask(Call("GET", f"/runs/{number}"))
        return run

    def cancel(self, number: int) -> Run:
        """Ask for the end of a run; one that is over stays as it is. Raises Missing, Forbidden."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/cancel"))
        return run

    def again(self, number: int, values: Mapping[str, Any] | None = None) -> Run:
        """A new run of the same build; `values` as in a manifest: `{"run": {"args": ["5"]}}`. Raises Missing,
        Forbidden, ApiError where a value is wrong."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/again", json=values or None))
        return run

    def result(self, number: int, rank: int = 0, offset: int = 0) -> Iterator[bytes]:
        """What a run wrote to stdout, from a byte on. Raises Missing."""
        for data in self.stream(_part(f"/runs/{number}/result", [("rank", str(rank))], offset)):
            yield data

    def log(self, number: int, rank: int = 0, offset: int = 0, follow: bool = False) -> Iterator[bytes]:
        """The log of a run, from a byte on; `follow`: until it ends, or the server has had enough.
        Raises Missing, TooOften."""
        params = [("rank", str(rank))]
        call = _part(f"/runs/{number}/log", params, offset)
        if follow:
            params += [("follow", "1"), ("offset", str(offset))]
            call = Call("GET", f"/runs/{number}/log", params, silence_s=None)
        for data in self.stream(call):
            yield data

    def artifacts(self, number: int) -> list[Artifact]:
        """The files that a run left. Raises Missing."""
        page = self.ask(Call("GET", f"/runs/{number}/artifacts", [("limit", "1000")]))
        found: list[Artifact] = page["artifacts"]
        while page["next"]:
            page = self.ask(Call("GET", f"/runs/{number}/artifacts", calls.query_of(page["next"])))
            found += page["artifacts"]
        return found

    def artifact(self, number: int, file: Artifact, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file that a run left, from one on. Raises Missing."""
        path = f"/runs/{number}/artifacts/{file['rank']}/{calls.quoted(file['path'])}"
        for data in self.stream(_part(path, [], offset)):
            yield data

    def build(self, number: int) -> Build:
        """One build. Raises Missing."""
        build: Build = self.ask(Call("GET", f"/builds/{number}"))
        return build

    def cancel_build(self, number: int) -> Build:
        """Ask for the end of a build. Raises Missing, Forbidden."""
        build: Build = self.ask(Call("POST", f"/builds/{number}/cancel"))
        return build

    def functions(self, owner: str = "") -> Iterator[Function]:
        """The functions that you may see, the newest first; of one owner if one is named."""
        filters = [("owner", owner)] if owner else []
        page = self.ask(Call("GET", "/functions", filters))
        while True:
            for function in page["functions"]:
                yield function
            if not page["next"]:
                return
            page = self.ask(Call("GET", "/functions", calls.query_of(page["next"])))

    def versions(self, name: str) -> Versions:
        """A function and its versions, the newest first. Raises Missing."""
        found: Versions = self.ask(Call("GET", function_path(name)))
        page: Any = found
        while page["next"]:
            page = self.ask(Call("GET", function_path(name), calls.query_of(page["next"])))
            found["versions"] += page["versions"]
        found["next"] = None
        return found

    def delete_function(self, name: str) -> Deleted:
        """Delete a function or one version; what it has run stays. Raises Missing, Forbidden."""
        gone: Deleted = self.ask(Call("DELETE", function_path(name)))
        return gone

    def get(self, path: str, **params: str) -> Any:
        """Whatever else is below `/api/v1`: `/gpus`, `/limits`, `/images`, `/tokens`. Raises ApiError."""
        return self.ask(Call("GET", path, list(params.items())))


def _part(path: str, params: list[tuple[str, str]], offset: int) -> Call:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    return Call("GET", path, params, headers=headers)
