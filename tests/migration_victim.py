"""`python -m tests.migration_victim`: brings databases to this program's schema, and is killed while it does.

A line of JSON for each on stdin, {"url", "kill_at"}: a child of ours migrates, and kills itself by SIGKILL
before the statement with that number (the last number: before its commit; one more: after it; null: never).
The answer is a line, too: {"signal", "statements"}. One start of Python serves a hundred of them."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from hermes import migrating as migrating  # here, and not in each child
from hermes.database import Database
from hermes.schema import migrate


def main() -> None:
    """Until stdin ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            asyncio.run(_migrate(asked["url"], asked["kill_at"], writer))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            statements = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        assert killed_by or os.waitstatus_to_exitcode(status) == 0, line
        print(json.dumps({"signal": killed_by, "statements": statements}), flush=True)


async def _migrate(url: str, kill_at: int | None, writer: int) -> None:
    database = Database(url)
    count = 0

    def reached(words: str) -> None:
        nonlocal count
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(writer, f"{' '.join(words.split())}\n".encode())
        count += 1

    def statement(_connection: Any, _cursor: Any, words: str, *_: Any) -> None:
        reached(words)

    event.listen(database.engine.sync_engine, "before_cursor_execute", statement)
    event.listen(database.engine.sync_engine, "commit", lambda _connection: reached("COMMIT"))
    await migrate(database)
    reached("after COMMIT")
    await database.close()


if __name__ == "__main__":
    main()
