"""Parts of logs by real HTTP: lines by number, search, groups, what compilers say, all ranks, compressed."""

import gzip
import re
from typing import Any

import httpx
import pytest

from tests.programs import go_on, shell, told
from tests.service import PATIENCE_S, Pushed, Service, wait_for
from web.rows import LINE_BYTES

PRINTS = r"""echo '::group::Setting up'; seq 1 30; echo '::endgroup::'
printf 'src/a.cpp:12:5: error: no such thing\nb.cpp:3:1: warning: unused\n'
printf '\033[1;31mred\nstill red\033[0m\n'
echo '--- folded'; seq 1 5
echo '+++ open'; echo inside
printf '%s\n' '--- a/x.c' '+++ b/x.c'
head -c 100000 /dev/zero | tr '\0' y; echo
for i in 1 2 3; do printf '\r%d0%%' $i; done; echo
printf 'größe Größe\n'
seq 1 2000
printf 'no end'
"""


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """A run that printed something of everything."""
    script, files = told("echo to-stderr >&2", PRINTS)  # of two streams nobody knows which is read first
    pushed = service.push(files, "detach")
    (begun,) = service.commit_page(pushed)["runs"]
    wait_for(lambda: service.read_log("runs", begun["id"]) == b"to-stderr\n")
    go_on(script)
    found = service.run_of(pushed)
    assert found["state"] == "succeeded", found
    return found


@pytest.fixture(scope="module")
def log(service: Service, run: dict[str, Any]) -> list[str]:
    """Its lines."""
    return service.read_log("runs", run["id"]).decode().split("\n")


def part(service: Service, run: dict[str, Any], name: str, **parameters: Any) -> dict[str, Any]:
    """One part of its log."""
    with service.client() as client:
        answer = client.get(f"/runs/{run['id']}/log/{name}", params=parameters)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@pytest.mark.parametrize(("first", "count"), [(1, 10), (33, 1), (700, 1000), (2000, 500), (-5, 400), (-1, 1)])
def test_lines_by_number(
    service: Service, run: dict[str, Any], log: list[str], first: int, count: int
) -> None:
    rows = part(service, run, "lines", **{"from": first, "count": count})
    assert rows["total"] == len(log)
    start = rows["first"] - 1
    assert start == (first - 1 if first > 0 else len(log) + first)
    expected = [line if len(line) <= LINE_BYTES else line[:LINE_BYTES] for line in log[start : start + count]]
    assert rows["lines"] == expected
    assert rows["ended"] is True


def test_a_line_that_is_too_long_is_shown_in_part(
    service: Service, run: dict[str, Any], log: list[str]
) -> None:
    number = next(at for at, line in enumerate(log, 1) if len(line) == 100_000)
    rows = part(service, run, "lines", **{"from": number, "count": 2})
    assert rows["cut"] == {"0": 100_000}
    assert rows["lines"][0] == "y" * LINE_BYTES and rows["lines"][1] == log[number]


def test_each_line_has_its_time_and_its_stream(service: Service, run: dict[str, Any], log: list[str]) -> None:
    number = log.index("to-stderr") + 1
    rows = part(service, run, "lines", **{"from": number, "count": 1})
    line, at, stream = rows["marks"][-1]
    assert (line, stream) == (0, 2)
    assert run["created_at"] <= at <= run["ended_at"]


def test_colours_go_on_where_a_part_begins(service: Service, run: dict[str, Any], log: list[str]) -> None:
    number = next(at for at, line in enumerate(log, 1) if line.startswith("still red"))
    assert part(service, run, "lines", **{"from": number, "count": 1})["sgr"] == "\x1b[1;31m"
    assert part(service, run, "lines", **{"from": number + 1, "count": 1})["sgr"] == ""


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ({"q": "199"}, "199"),
        ({"q": "GRÖSSE"}, "größe|grösse"),
        ({"q": "Größe", "case": 1}, "Größe"),
        ({"q": "^1[0-9]$", "regex": 1}, "^1[0-9]$"),
        ({"q": "1.9"}, r"1\.9"),
        ({"q": "still red"}, "still red"),
        ({"q": "nothing like it"}, "nothing like it"),
        ({"q": "no end"}, "no end"),
    ],
)
def test_search_finds_the_lines_that_a_person_would(
    service: Service, run: dict[str, Any], log: list[str], asked: dict[str, Any], pattern: str
) -> None:
    flags = 0 if asked.get("case") else re.IGNORECASE
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in log]
    expected = [at for at, line in enumerate(plain, 1) if re.search(pattern, line, flags)]
    if asked["q"] == "GRÖSSE":
        expected = []  # ß is not SS to a machine
    found = part(service, run, "search", **asked)
    assert (found["lines"], found["count"], found["whole"]) == (expected, len(expected), True)


@pytest.mark.parametrize("pattern", ["(a", "*", r"\p{Nothing}", "(?=a)", "a{1,5000}"])
def test_an_expression_that_is_none_is_said(service: Service, run: dict[str, Any], pattern: str) -> None:
    with service.client() as client:
        asked = {"q": pattern, "regex": "1"}
        answer = client.get(
            f"/runs/{run['id']}/log/search", params=asked, headers={"Accept": "application/json"}
        )
    assert answer.status_code == 400, answer.text
    assert "expression cannot be used" in answer.json()["error"]["message"]


def test_an_expression_that_would_take_for_ever_does_not(service: Service, run: dict[str, Any]) -> None:
    found = part(service, run, "search", q="(y*)*(y*)*(y+)+z$", regex=1)
    assert (found["lines"], found["whole"]) == ([], True)


def test_groups_and_what_compilers_say(service: Service, run: dict[str, Any], log: list[str]) -> None:
    outline = part(service, run, "outline")
    groups = {each["title"]: each for each in outline["groups"]}
    assert list(groups) == ["Setting up", "folded", "open"]
    assert log[groups["Setting up"]["last"] - 1] == "::endgroup::"
    assert log[groups["folded"]["last"] - 1] == "5" and groups["folded"]["expanded"] is False
    assert groups["open"]["last"] is None and groups["open"]["expanded"] is True
    assert all(each["took_s"] >= 0 for each in groups.values())
    assert outline["counts"] == {"error": 1, "warning": 1}
    error, warning = outline["diagnostics"]
    assert (error["file"], error["line"], error["words"]) == ("src/a.cpp", 12, "no such thing")
    assert log[warning["at"] - 1].startswith("b.cpp:3:1")


def test_the_page_shows_the_summary_without_scripts(service: Service, run: dict[str, Any]) -> None:
    with service.client() as client:
        text = client.get(f"/runs/{run['id']}").text
    assert "1 error, 1 warning" in text
    assert f'/source/{run["commit"]}/src/a.cpp#L12"' in text


def test_a_log_is_sent_compressed_to_who_takes_that(
    service: Service, run: dict[str, Any], log: list[str]
) -> None:
    path = f"/runs/{run['id']}/log"
    with service.client() as client:
        with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert gzip.decompress(b"".join(answer.iter_raw())).decode().split("\n") == log
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.text.split("\n") == log
        ranged = client.get(path, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-4"})
        assert (ranged.status_code, ranged.headers.get("content-encoding")) == (206, None)
        saved = client.get(path, params={"download": 1})
        assert saved.headers["content-disposition"].startswith(f'attachment; filename="run-{run["id"]}.log"')


RANKS: dict[str, str | bytes] = {"hermes.toml": 'handler = "sh main.sh"\n[ranks]\nrepeat = 3\n'}
TALK = "for i in 1 2 3; do echo rank $RANK says $i; sleep 0.4; done; printf end\n"


@pytest.fixture(scope="module")
def crowd(service: Service) -> Pushed:
    """A run of three ranks that talk at the same time."""
    return service.push(shell(TALK) | RANKS)


def test_all_ranks_one_after_another_and_as_they_came(service: Service, crowd: Pushed) -> None:
    run = service.run_of(crowd)
    with service.client() as client:
        by_rank = client.get(f"/runs/{run['id']}/logs").text
        by_time = client.get(f"/runs/{run['id']}/logs", params={"order": "time"}).text
        wrong = client.get(f"/runs/{run['id']}/logs", params={"order": "size"})
    expected = "".join(
        f"=== rank {rank} ===\n" + "".join(f"rank {rank} says {i}\n" for i in (1, 2, 3)) + "end\n"
        for rank in range(3)
    )
    assert by_rank == expected
    lines = by_time.splitlines()
    assert sorted(lines) == sorted(
        f"[{rank}] {words}"
        for rank in range(3)
        for words in (*(f"rank {rank} says {i}" for i in (1, 2, 3)), "end")
    )
    for rank in range(3):
        of_rank = [line for line in lines if line.startswith(f"[{rank}]")]
        assert [line[-1] for line in of_rank] == ["1", "2", "3", "d"]
    assert wrong.status_code == 400


def test_who_may_not_see_a_repository_gets_no_part_of_its_logs(
    service: Service, bob: str, run: dict[str, Any]
) -> None:
    for name in ("log/lines", "log/search?q=a", "log/outline", "logs"):
        path = f"/runs/{run['id']}/{name}"
        with service.client(bob) as other, httpx.Client(base_url=service.url, timeout=PATIENCE_S) as nobody:
            assert other.get(path).status_code == 404, name
            assert nobody.get(path, headers={"Accept": "application/json"}).status_code == 401, name
