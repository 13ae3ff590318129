"""What is said of a run that has ended: in words for people, as a record for programs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from hermes import logs
from hermes.notices import BROKE, FIXED, branch_of
from hermes.paths import Paths
from hermes.states import State
from hermes.tables import Notification, User
from hermes.threads import in_thread
from web.details import RunDetails
from web.look import exact, iso
from web.lookup import find_run, subjects
from web.runs import WHOLE, run_details
from web.shapes import run_answer
from web.site import Site
from web.terminal import render

TEST = "test"
_LINES, _MOST_LETTERS, _TAIL_BYTES = 20, 300, 1 << 15


@dataclass(frozen=True)
class Message:
    """`key` is the same in each try; `thread` in all messages of one branch, for mail."""

    event: str
    key: str
    title: str
    lines: list[str]
    url: str
    thread: str
    body: Mapping[str, Any]
    log: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Without its title."""
        return "\n".join(self.lines)


async def compose(
    site: Site, session: AsyncSession, told: Mapping[str, Any], viewer: User, key: str
) -> Message:
    """Of a payload of the outbox (hermes.notices). Raises NotFound where the viewer may not see its run."""
    run, place = await find_run(session, viewer, told["run"])
    details = await run_details(session, viewer, run, place, WHOLE)
    branch = told.get("branch") or await branch_of(session, run.repo_id, run.push_id, run.build_id)
    named = await subjects(session, {run.repo_id}, {details.build.commit_sha})
    event, previous, base = told["event"], told.get("previous"), site.context.settings.public_url
    record = run_answer(details, base).model_dump(mode="json")
    subject = named.get((run.repo_id, details.build.commit_sha), "")
    before = [_before(event, previous)] if previous and event in (BROKE, FIXED) else []
    return Message(
        event=event,
        key=key,
        title=f"{place.name} {_headline(event, branch, run.id, run.state)}",
        lines=[
            f"run {run.id} {details.words}",
            f"{details.build.commit_sha[:7]} {subject}".strip(),
            f"{details.trigger_words}, ended {exact(run.ended_at or run.created_at)}",
            *before,
        ],
        url=f"{base}/runs/{run.id}",
        thread=hashlib.sha256(f"{run.repo_id} {branch}".encode()).hexdigest()[:24],
        body={"event": f"run.{event}", "branch": branch, "previous": previous, **record},
        log=await in_thread(_tail, site.context.paths, details),
    )


def test_message(site: Site, notification: Notification, asker: User, at: float) -> Message:
    """What somebody sends to see that it arrives."""
    whose = "your runs" if notification.repo_id is None else "the runs of a repository"
    url = f"{site.context.settings.public_url}/"
    return Message(
        event=TEST,
        key=f"test-{notification.id}-{int(at * 1000)}",
        title="Hermes: a test",
        lines=[f"{asker.name} has sent this to see that it arrives.", f"Here {whose} will be told of."],
        url=url,
        thread=TEST,
        body={"event": TEST, "user": asker.name, "at": iso(at), "url": url},
    )


def _headline(event: str, branch: str, run_id: int, state: State) -> str:
    if event == BROKE:
        return f"{branch} broke" if branch else "broke"
    if event == FIXED:
        return f"{branch} is fixed" if branch else "is fixed"
    words = f"run {run_id} {state.replace('_', ' ')}"
    return f"{branch}: {words}" if branch else words


def _before(event: str, previous: int) -> str:
    return f"run {previous} before it had {'succeeded' if event == BROKE else 'not succeeded'}"


def _tail(paths: Paths, details: RunDetails) -> list[str]:
    """The last lines of the log that says most: of the rank that speaks for the run, or of its build."""
    rank, build = details.verdict, details.build
    path = paths.log("rank", rank.id, rank.attempt)
    if build.state is not State.BUILT:
        path = paths.log("build", build.id, build.attempt)
    return last_lines(path)


def last_lines(path: Path) -> list[str]:
    """As text without colours."""
    size = logs.size_bytes(path)
    data = logs.read(path, max(0, size - _TAIL_BYTES), _TAIL_BYTES)
    shown = render(data.decode("utf-8", "replace"))
    lines = ["".join(span.text for span in line)[:_MOST_LETTERS].rstrip() for line in shown]
    while lines and not lines[-1]:
        lines.pop()
    return lines[-_LINES:]
