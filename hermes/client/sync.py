"""The client that waits; each method is one request. `hermes.client.asynchronous` is made from this file."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from hermes.client import calls
from hermes.client.answers import Artifact, Build, Deleted, Function, Run, Token, User, Version, Versions
from hermes.client.calls import Call
from hermes.client.errors import BrokenOff
from hermes.client.frames import Event, Frame, FrameReader, Had
from hermes.client.instance_answers import Account, Gpus, Image, Limit, Repo, TokenMade
from hermes.client.invocation import Invocation, function_path, output_call
from hermes.client.notifying import Notifying
from hermes.client.wire import Wire


class Client(Notifying):
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
        for frame in self.frames(invocation.call("sync")):
            yield frame

    def output(self, number: int, had: Mapping[int, Had] | None = None) -> Iterator[Frame]:
        """Follow an invoked run as `invoke` does, from its beginning; of ranks in `had` without that much.
        Raises Missing, TooOften; BrokenOff when it ends too early: the run goes on."""
        for frame in self.frames(output_call(number, had or {})):
            yield frame

    def frames(self, call: Call) -> Iterator[Frame]:
        """The frames that answer a request, the last the event `end`. Raises ApiError, BrokenOff."""
        reader, ended = FrameReader(), False
        for data in self.stream(call):
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
        for page in self.pages("/runs", **filters, limit=str(min(max(most, 1), 100))):
            for run in page["runs"][:most]:
                yield run
            most -= len(page["runs"])
            if most <= 0:
                return

    def run(self, number: int) -> Run:
        """One run. Raises Missing."""
        run: Run = self.ask(Call("GET", f"/runs/{number}"))
        return run

    def cancel(self, number: int) -> Run:
        """Ask for the end of a run; one that is over stays as it is. Raises Missing, Forbidden."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/cancel"))
        return run

    def keep(self, number: int) -> Run:
        """Retention leaves a run alone from now on. Raises Missing, Forbidden."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/keep"))
        return run

    def unkeep(self, number: int) -> Run:
        """It goes when it is old, as others do. Raises Missing, Forbidden."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/unkeep"))
        return run

    def again(self, number: int, values: Mapping[str, Any] | None = None) -> Run:
        """A new run of the same build; `values` as in a manifest. Raises Missing, Forbidden, ApiError."""
        run: Run = self.ask(Call("POST", f"/runs/{number}/again", json=values or None))
        return run

    def result(self, number: int, rank: int = 0, offset: int = 0) -> Iterator[bytes]:
        """What a run wrote to stdout, from a byte on. Raises Missing."""
        for data in self.stream(calls.part(f"/runs/{number}/result", [("rank", str(rank))], offset)):
            yield data

    def log(self, number: int, rank: int = 0, offset: int = 0, follow: bool = False) -> Iterator[bytes]:
        """The log of a run, from a byte on; `follow`: until it ends. Raises Missing, TooOften."""
        params = [("rank", str(rank))]
        call = calls.part(f"/runs/{number}/log", params, offset)
        if follow:
            params += [("follow", "1"), ("offset", str(offset))]
            call = Call("GET", f"/runs/{number}/log", params, silence_s=None)
        for data in self.stream(call):
            yield data

    def artifacts(self, number: int) -> list[Artifact]:
        """The files that a run left. Raises Missing."""
        found: list[Artifact] = []
        for page in self.pages(f"/runs/{number}/artifacts", limit="1000"):
            found += page["artifacts"]
        return found

    def artifact(self, number: int, file: Artifact, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file that a run left, from one on. Raises Missing."""
        path = f"/runs/{number}/artifacts/{file['rank']}/{calls.quoted(file['path'])}"
        for data in self.stream(calls.part(path, [], offset)):
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
        for page in self.pages("/functions", **calls.of_owner(owner)):
            for function in page["functions"]:
                yield function

    def versions(self, name: str) -> Versions:
        """A function and its versions, the newest first. Raises Missing."""
        found: Any = None
        for page in self.pages(function_path(name)):
            if found is None:
                found = page | {"versions": [], "next": None}
            found["versions"] += page["versions"]
        whole: Versions = found
        return whole

    def delete_function(self, name: str) -> Deleted:
        """Delete a function or one version; what it has run stays. Raises Missing, Forbidden."""
        gone: Deleted = self.ask(Call("DELETE", function_path(name)))
        return gone

    def repos(self, owner: str = "") -> Iterator[Repo]:
        """The repositories that you may see, the oldest first; of one owner if one is named."""
        for page in self.pages("/repos", **calls.of_owner(owner)):
            for repo in page["repos"]:
                yield repo

    def repo(self, name: str) -> Repo:
        """The repository `owner/name`. Raises Missing."""
        repo: Repo = self.ask(Call("GET", f"/repos/{calls.quoted(name)}"))
        return repo

    def tokens(self) -> list[Token]:
        """Everything that signs you in, the newest first."""
        said: Any = self.ask(Call("GET", "/tokens"))
        found: list[Token] = said["tokens"]
        return found

    def make_token(self, name: str, **values: str) -> TokenMade:
        """A new one, with its secret. `scope`: `all`, `push`, `read`; `expires_in`: `9d`. Raises ApiError."""
        made: TokenMade = self.ask(Call("POST", "/tokens", json={"name": name, **values}))
        return made

    def revoke_token(self, number: int) -> None:
        """End a token of yours, from the next request on. Raises Missing."""
        self.ask(Call("DELETE", f"/tokens/{number}"))

    def users(self) -> Iterator[Account]:
        """All accounts by name. Raises Missing for who is no admin."""
        for page in self.pages("/users"):
            for account in page["users"]:
                yield account

    def limits(self) -> list[Limit]:
        """What a run, a push and a user may have at most, as it is in force for you."""
        said: Any = self.ask(Call("GET", "/limits"))
        found: list[Limit] = said["limits"]
        return found

    def images(self) -> list[Image]:
        """The base images that a manifest can name."""
        said: Any = self.ask(Call("GET", "/images"))
        found: list[Image] = said["images"]
        return found

    def gpus(self) -> Gpus:
        """Machines, who holds what, who waits and why."""
        found: Gpus = self.ask(Call("GET", "/gpus"))
        return found

    def get(self, path: str, **params: str) -> Any:
        """Whatever else is below `/api/v1`. Raises ApiError."""
        return self.ask(Call("GET", path, list(params.items())))

    def pages(self, path: str, **params: str) -> Iterator[Any]:
        """The pages of a list, from the first to the last. Raises ApiError."""
        page = self.get(path, **params)
        while True:
            yield page
            if not page["next"]:
                return
            page = self.ask(Call("GET", path, calls.query_of(page["next"])))
