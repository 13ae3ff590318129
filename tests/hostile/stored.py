"""A repository of an instance: pushed to from outside, looked at from inside."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.hostile.case import Case, check_manners, lines_of, send
from tests.hostile.writer import FLUSH
from tests.service import Service

#: What git overlooks when it receives: told to (gitserver/child.py), and of its own accord.
OVERLOOKED = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone", "badFilemode")
FSCK = [word for each in OVERLOOKED for word in ("-c", f"fsck.{each}=ignore")]


class Stored:
    """A repository of the instance, from outside and from inside."""

    def __init__(self, service: Service) -> None:
        self.service, self.path = service, "/alice/fuzz.git/git-receive-pack"
        self.send(FLUSH)
        (self.bare,) = (service.data / "repos").glob("*.git")

    def send(self, body: bytes) -> list[str]:
        """A push; its answer is words, and never a fault of ours."""
        answer = send(self.service, Case("fuzz", lambda: body, "", self.path))
        check_manners(answer, self.service)
        return [] if answer.status_code != 200 else lines_of(answer)

    def git(self, *args: str) -> str:
        """What git says about it."""
        done = subprocess.run(
            ["git", *FSCK, "-C", str(self.bare), *args],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    def refs(self) -> dict[str, str]:
        """All of them."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def forget(self) -> None:
        """For the next one."""
        for ref in self.refs():
            self.git("update-ref", "-d", ref)

    @contextmanager
    def after(self, body: bytes) -> Iterator[dict[str, str]]:
        """The refs after a push: those that its answer says, all of them whole; forgotten afterwards."""
        try:
            said = self.send(body)
            refs = self.refs()
            assert set(refs) == {line.removeprefix("ok ") for line in said if line.startswith("ok refs/")}
            if refs:
                self.git("fsck", "--strict", "--full", "--no-dangling")
                self.git("rev-list", "--objects", "--quiet", *refs.values())
            yield refs
        finally:
            self.forget()
