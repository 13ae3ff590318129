"""`hermes run` without options is read without click: as click would read it, or not at all."""

import subprocess
import sys

from click import Context
from hypothesis import given
from hypothesis import strategies as st

from hermes.cli import plain_run
from hermes.cli.run import run
from hermes.cli.running import PLAIN

WORDS = st.one_of(
    st.sampled_from(["alice/pi", "--", "-", "-x", "--json", "-f", "--help", "", "a b", "run", "1"]),
    st.text(max_size=4),
)


@given(st.lists(WORDS, max_size=5))
def test_what_is_read_is_what_click_reads(words: list[str]) -> None:
    found = plain_run(["run", *words])
    if not found:
        return
    with Context(run) as context:
        run.parse_args(context, list(words))
    options = dict(context.params)
    assert options.pop("sync") is False and options.pop("server") == ""
    assert options == PLAIN | {"function": found[0], "args": tuple(found[1:])}


def test_calls_without_options_are_read_so() -> None:
    assert plain_run(["run", "alice/pi", "5", "--", "-x", "--", ""]) == ["alice/pi", "5", "-x", "--", ""]
    assert not any(map(plain_run, ([], ["runs", "a"], ["run"], ["run", "--", "a"], ["run", "-q", "a"])))


def test_it_imports_neither_click_nor_httpx_nor_what_reads_answers() -> None:
    program = "import sys; import hermes.cli.running; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    costly = {
        "click",
        "httpx",
        "rich",
        "pydantic",
        "ssl",
        "http.client",
        "email.message",
        "asyncio",
        "uuid",
        "tempfile",
    }
    assert not costly & {*done.stdout.split()}
