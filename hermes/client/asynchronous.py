"""The client that does not wait: written by scripts/async-client from `hermes.client.sync`."""

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

from hermes.client import calls
from hermes.client.answers import Artifact, Build, Deleted, Function, Run, Token, User, Version, Versions
from hermes.client.calls import Call
from hermes.client.errors import BrokenOff
from hermes.client.frames import Event, Frame, FrameReader, Had
from hermes.client.instance_answers import Account, Gpus, Image, Limit, Repo, TokenMade
from hermes.client.invocation import Invocation, function_path, output_call
from hermes.client.notifying_async import AsyncNotifying
from hermes.client.wire_async import AsyncWire


class AsyncClient(AsyncNotifying):
    """One server, one token. Every method may raise NoServer, BrokenOff, OtherServer, Unauthorized and
    ServerTrouble besides what it says."""

    def __init__(self, url: str, token: str = "") -> None:
        """Raises NoServer where `url` is no address. Nothing is asked yet."""
        self.url, self.token = calls.address_of(url), token
        self._wire = AsyncWire(self.url, calls.headers_of(token))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._wire.aclose()

    async def ask(self, call: Call) -> Any:
        """The JSON that answers a request. Raises ApiError."""
        async with self._wire.open(call) as answer:
            await answer.read()
        return calls.read(answer)

    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        """The bytes that answer a request; none if its range begins at the end. Raises ApiError."""
        async with self._wire.open(call, follows=call.method == "GET") as answer:
            if answer.status == 416:
                return
            if not answer.is_good:
                await answer.read()
                raise calls.refusal(answer) or AssertionError
            async for data in answer.pieces():
                yield data

    async def version(self) -> Version:
        """Which program answers. Raises OtherServer where its API is another one than this client's."""
        said: Version = await self.ask(Call("GET", "/version"))
        calls.check_version(said)
        return said

    async def user(self) -> User:
        """Who the token acts for. Raises Unauthorized."""
        said: User = await self.ask(Call("GET", "/user"))
        return said

    async def invoke(self, invocation: Invocation) -> AsyncIterator[Frame]:
        """Start a run and follow it: first the event `run`, then what it writes, last the event `end`.
        Raises Missing, Forbidden, TooOften, TooLarge; BrokenOff when it ends too early: the run goes on."""
        async for frame in self.frames(invocation.call("sync")):
            yield frame

    async def output(self, number: int, had: Mapping[int, Had] | None = None) -> AsyncIterator[Frame]:
        """Follow an invoked run as `invoke` does, from its beginning; of ranks in `had` without that much.
        Raises Missing, TooOften; BrokenOff when it ends too early: the run goes on."""
        async for frame in self.frames(output_call(number, had or {})):
            yield frame

    async def frames(self, call: Call) -> AsyncIterator[Frame]:
        """The frames that answer a request, the last the event `end`. Raises ApiError, BrokenOff."""
        reader, ended = FrameReader(), False
        async for data in self.stream(call):
            for frame in reader.feed(data):
                ended = ended or (isinstance(frame, Event) and frame.name == "end")
                yield frame
        if not ended:
            raise BrokenOff(f"{self.url} has ended the answer before the run did")

    async def start(self, invocation: Invocation, wait_s: float = 0.0) -> Run:
        """Start a run; its record now, or when it has ended within `wait_s`. Raises as `invoke`."""
        run: Run = await self.ask(invocation.call("async", wait_s))
        return run

    async def runs(self, most: int = 30, **filters: str) -> AsyncIterator[Run]:
        """Runs that you may see, the newest first: `state`, `function`, `repo`, `trigger`, `user`, `commit`,
        `since`, `until` choose among them. Raises ApiError where a filter has no meaning."""
        async for page in self.pages("/runs", **filters, limit=str(min(max(most, 1), 100))):
            for run in page["runs"][:most]:
                yield run
            most -= len(page["runs"])
            if most <= 0:
                return

    async def run(self, number: int) -> Run:
        """One run. Raises Missing."""
        run: Run = await self.ask(Call("GET", f"/runs/{number}"))
        return run

    async def cancel(self, number: int) -> Run:
        """Ask for the end of a run; one that is over stays as it is. Raises Missing, Forbidden."""
        run: Run = await self.ask(Call("POST", f"/runs/{number}/cancel"))
        return run

    async def keep(self, number: int) -> Run:
        """Retention leaves a run alone from now on. Raises Missing, Forbidden."""
        run: Run = await self.ask(Call("POST", f"/runs/{number}/keep"))
        return run

    async def unkeep(self, number: int) -> Run:
        """It goes when it is old, as others do. Raises Missing, Forbidden."""
        run: Run = await self.ask(Call("POST", f"/runs/{number}/unkeep"))
        return run

    async def again(self, number: int, values: Mapping[str, Any] | None = None) -> Run:
        """A new run of the same build; `values` as in a manifest. Raises Missing, Forbidden, ApiError."""
        run: Run = await self.ask(Call("POST", f"/runs/{number}/again", json=values or None))
        return run

    async def result(self, number: int, rank: int = 0, offset: int = 0) -> AsyncIterator[bytes]:
        """What a run wrote to stdout, from a byte on. Raises Missing."""
        async for data in self.stream(calls.part(f"/runs/{number}/result", [("rank", str(rank))], offset)):
            yield data

    async def log(
        self, number: int, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """The log of a run, from a byte on; `follow`: until it ends. Raises Missing, TooOften."""
        params = [("rank", str(rank))]
        call = calls.part(f"/runs/{number}/log", params, offset)
        if follow:
            params += [("follow", "1"), ("offset", str(offset))]
            call = Call("GET", f"/runs/{number}/log", params, silence_s=None)
        async for data in self.stream(call):
            yield data

    async def artifacts(self, number: int) -> list[Artifact]:
        """The files that a run left. Raises Missing."""
        found: list[Artifact] = []
        async for page in self.pages(f"/runs/{number}/artifacts", limit="1000"):
            found += page["artifacts"]
        return found

    async def artifact(self, number: int, file: Artifact, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of a file that a run left, from one on. Raises Missing."""
        path = f"/runs/{number}/artifacts/{file['rank']}/{calls.quoted(file['path'])}"
        async for data in self.stream(calls.part(path, [], offset)):
            yield data

    async def build(self, number: int) -> Build:
        """One build. Raises Missing."""
        build: Build = await self.ask(Call("GET", f"/builds/{number}"))
        return build

    async def cancel_build(self, number: int) -> Build:
        """Ask for the end of a build. Raises Missing, Forbidden."""
        build: Build = await self.ask(Call("POST", f"/builds/{number}/cancel"))
        return build

    async def functions(self, owner: str = "") -> AsyncIterator[Function]:
        """The functions that you may see, the newest first; of one owner if one is named."""
        async for page in self.pages("/functions", **calls.of_owner(owner)):
            for function in page["functions"]:
                yield function

    async def versions(self, name: str) -> Versions:
        """A function and its versions, the newest first. Raises Missing."""
        found: Any = None
        async for page in self.pages(function_path(name)):
            if found is None:
                found = page | {"versions": [], "next": None}
            found["versions"] += page["versions"]
        whole: Versions = found
        return whole

    async def delete_function(self, name: str) -> Deleted:
        """Delete a function or one version; what it has run stays. Raises Missing, Forbidden."""
        gone: Deleted = await self.ask(Call("DELETE", function_path(name)))
        return gone

    async def repos(self, owner: str = "") -> AsyncIterator[Repo]:
        """The repositories that you may see, the oldest first; of one owner if one is named."""
        async for page in self.pages("/repos", **calls.of_owner(owner)):
            for repo in page["repos"]:
                yield repo

    async def repo(self, name: str) -> Repo:
        """The repository `owner/name`. Raises Missing."""
        repo: Repo = await self.ask(Call("GET", f"/repos/{calls.quoted(name)}"))
        return repo

    async def tokens(self) -> list[Token]:
        """Everything that signs you in, the newest first."""
        said: Any = await self.ask(Call("GET", "/tokens"))
        found: list[Token] = said["tokens"]
        return found

    async def make_token(self, name: str, **values: str) -> TokenMade:
        """A new one, with its secret. `scope`: `all`, `push`, `read`; `expires_in`: `9d`. Raises ApiError."""
        made: TokenMade = await self.ask(Call("POST", "/tokens", json={"name": name, **values}))
        return made

    async def revoke_token(self, number: int) -> None:
        """End a token of yours, from the next request on. Raises Missing."""
        await self.ask(Call("DELETE", f"/tokens/{number}"))

    async def users(self) -> AsyncIterator[Account]:
        """All accounts by name. Raises Missing for who is no admin."""
        async for page in self.pages("/users"):
            for account in page["users"]:
                yield account

    async def limits(self) -> list[Limit]:
        """What a run, a push and a user may have at most, as it is in force for you."""
        said: Any = await self.ask(Call("GET", "/limits"))
        found: list[Limit] = said["limits"]
        return found

    async def images(self) -> list[Image]:
        """The base images that a manifest can name."""
        said: Any = await self.ask(Call("GET", "/images"))
        found: list[Image] = said["images"]
        return found

    async def gpus(self) -> Gpus:
        """Machines, who holds what, who waits and why."""
        found: Gpus = await self.ask(Call("GET", "/gpus"))
        return found

    async def get(self, path: str, **params: str) -> Any:
        """Whatever else is below `/api/v1`. Raises ApiError."""
        return await self.ask(Call("GET", path, list(params.items())))

    async def pages(self, path: str, **params: str) -> AsyncIterator[Any]:
        """The pages of a list, from the first to the last. Raises ApiError."""
        page = await self.get(path, **params)
        while True:
            yield page
            if not page["next"]:
                return
            page = await self.ask(Call("GET", path, calls.query_of(page["next"])))
