"""A repository's own Dockerfile: built by the engine where the operator allows it; its image holds boxes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.dockerfiles import REPOSITORY, check_dockerfile, image_of
from hermes.errors import Refused
from hermes.images import load_images
from tests.service import Pushed, Service, living, wait_for
from tests.test_packages import docker

BASE = load_images(Path())["cpp"].reference
ON = '[build]\ndockerfile = "Dockerfile"\n'
WITH_MAKE: dict[str, str | bytes] = {
    "hermes.toml": f'handler = "./say"\n{ON}',
    "Makefile": 'say:\n\tcp /opt/tools/greeting say && echo "echo $$(id -u)" >>say && chmod +x say\n',
    "Dockerfile": f"""FROM {BASE}
ENTRYPOINT ["false"]
RUN mkdir -p /opt/tools && printf '#!/bin/sh\\necho made with a Dockerfile\\n' >/opt/tools/greeting
RUN echo "as $(id -u), interfaces: $(ls /sys/class/net), files: $(ulimit -n)"; \\
  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>&1 || true
""",
}


@pytest.fixture(scope="module")
def service(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that allows them."""
    env = {
        "HERMES_EXECUTOR": "docker",
        "HERMES_DOCKERFILES": "on",
        "HERMES_REDIS_URL": "none",
        "HERMES_POLL": "0.2",
    }
    before = {*docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()}
    with living(Service(tmp_path_factory.mktemp("dockerfiles") / "var", env)) as one:
        yield one
    after = {*docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()}
    if made := after - before:
        docker("rmi", "-f", *made)


def push(
    service: Service, dockerfile: str, manifest: str = 'handler = "sh main.sh"\n', **files: str
) -> Pushed:
    """A repository without a Makefile."""
    tree = {"hermes.toml": manifest + ON, "Dockerfile": f"FROM {BASE}\n{dockerfile}"}
    return service.push({**tree, **files})


def build_of(service: Service, pushed: Pushed) -> tuple[str, str]:
    """State and reason of its build."""
    build = service.settled(pushed)["builds"][0]
    return build["state"], build["reason"]


def test_make_runs_in_a_hardened_box_of_the_image_that_a_dockerfile_makes(service: Service) -> None:
    pushed = service.push(WITH_MAKE)
    assert pushed.code == 0, pushed.output
    assert f"Step 1/5 : FROM {BASE}" in pushed.lines
    assert "as 0, interfaces: lo, files: 4096" in pushed.lines, "as root, without a network"
    assert str(4 << 30) in pushed.lines, "with bounded memory"
    assert pushed.lines[pushed.lines.index("made with a Dockerfile") + 1] == "65534", (
        "and the program is nobody"
    )
    build = service.commit_page(pushed)["builds"][0]
    with service.client() as client:
        heads = client.get(f"/builds/{build['id']}/log/outline").json()["heads"]
        page = client.get(f"/builds/{build['id']}").text
    assert [each["key"] for each in heads] == ["tree", "dockerfile", "box", "make", "check", "image"]
    assert re.search(r"Dockerfile</td><td[^>]*>Dockerfile .*made by this build in .*, and kept", page)
    again = service.push(pushed.tree, repo="dockerfile-again")
    assert "Step 1/5" not in again.output and "made with a Dockerfile" in again.lines, "the same tree, cached"


def test_without_a_makefile_the_image_is_the_result_and_its_app_where_programs_run(service: Service) -> None:
    dockerfile = "WORKDIR /app\nCOPY . .\nRUN echo 'echo made at build time' >>main.sh && touch made\n"
    pushed = push(service, dockerfile, **{"main.sh": "ls\n"})
    assert pushed.code == 0, pushed.output
    said = pushed.lines[pushed.lines.index("hermes.toml") :][:4]
    assert said == ["hermes.toml", "made", "main.sh", "made at build time"], "its Dockerfile, before, too"


def test_an_image_with_nothing_in_app_has_the_tree_there(service: Service) -> None:
    pushed = push(service, "ENV WORD=from-the-image\n", **{"main.sh": 'echo "word $WORD"\n'})
    assert "word from-the-image" in pushed.lines, pushed.output


def test_an_image_that_was_removed_is_made_again_for_a_run(service: Service) -> None:
    pushed = push(service, "RUN touch /opt/there\n", **{"main.sh": "ls /opt/there\n"})
    run = service.run_of(pushed)
    docker("rmi", "-f", image_of(pushed.sha, "Dockerfile"))
    with service.client() as client:
        client.post(f"/api/v1/runs/{run['id']}/again", json={}).raise_for_status()
    assert [each["state"] for each in service.settled(pushed)["runs"]] == ["succeeded", "succeeded"]


FAULTS = {
    "RUN echo before && exit 3": r"Dockerfile: The command '/bin/sh -c echo before && exit 3' returned .*: 3",
    "RUN true\nRUN echo ' ---> abcdef012345'; exit 4": r"Dockerfile: The command .*: 4",
    "RUNN echo": r"Dockerfile: dockerfile parse error.*unknown instruction: RUNN",
    "COPY nowhere /x": r"Dockerfile: COPY failed.*nowhere.*",
    "VOLUME /data": r"Dockerfile: VOLUME /data: a run has no volumes",
    "FROM scratch\nCOPY main.sh /": r"Dockerfile: its image has no /bin/sh",
    "RUN true": r"the Dockerfile went well, but there is no program 'sh-not-there'.*",
}


@pytest.mark.parametrize("wrong", FAULTS)
def test_what_is_wrong_with_a_dockerfile_fails_its_build_in_words(service: Service, wrong: str) -> None:
    manifest = 'handler = "sh-not-there"\n' if wrong == "RUN true" else 'handler = "sh main.sh"\n'
    pushed = push(service, f"{wrong}\n", manifest, **{"main.sh": "true\n"})
    state, reason = build_of(service, pushed)
    assert state == "failed" and re.fullmatch(FAULTS[wrong], reason), reason
    images = ("images", "-q", "--filter", f"label={REPOSITORY}", "--filter", "dangling=true")
    wait_for(lambda: docker("ps", "-aq", "--filter", "name=hermes-dockerfiles-") == docker(*images) == "")


def test_a_dockerfile_is_ended_by_its_time_and_by_a_person(service: Service) -> None:
    slow, files = "RUN echo begun && sleep 6007\n", {"main.sh": "true\n"}
    limited = service.worktree(
        {
            "hermes.toml": f'handler = "sh main.sh"\n{ON}timeout = "10s"\n',
            "Dockerfile": f"FROM {BASE}\n{slow}",
            **files,
        }
    )
    assert build_of(service, service.push(limited)) == ("timed_out", "Dockerfile took longer than 10 s")
    manifest = f'handler = "sh main.sh"\n{ON}'
    tree = service.worktree({"hermes.toml": manifest, "Dockerfile": f"FROM {BASE}\n{slow}# 2\n", **files})
    pushed = service.push(tree, "detach", repo="slow-dockerfile")
    build = service.commit_page(pushed)["builds"][0]["id"]
    wait_for(lambda: b"begun" in service.read_log("builds", build))
    with service.client() as client:
        assert client.post(f"/api/v1/builds/{build}/cancel").status_code < 300
    assert build_of(service, pushed)[0] == "cancelled"
    wait_for(lambda: "sleep 6007" not in docker("ps", "--no-trunc", "--format", "{{.Command}}"))


REFUSED = {
    "no such file": (
        {"hermes.toml": f'handler = "sh x"\n{ON}'},
        "build.dockerfile = 'Dockerfile': no such file",
    ),
    "nothing to run": ({"hermes.toml": ON, "Dockerfile": "FROM x"}, "no Makefile and no handler"),
    "two bases": (
        {"hermes.toml": f'{ON}image = "cpp"\n', "Dockerfile": "FROM x", "Makefile": "all:\n"},
        "build.image and build.dockerfile exclude each other",
    ),
    "out of the tree": ({"hermes.toml": '[build]\ndockerfile = "../Dockerfile"\n'}, "without .."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_never_work_is_refused_at_the_push(service: Service, case: str) -> None:
    files, words = REFUSED[case]
    pushed = service.push(dict(files))
    assert pushed.code == 1 and words in pushed.output, pushed.output


def test_a_machine_without_an_engine_refuses_them() -> None:
    with pytest.raises(Refused, match="no container engine to build it"):
        check_dockerfile("Dockerfile", {"Dockerfile"}, is_on=True, has_engine=False)


def test_an_instance_that_does_not_allow_them_says_which_setting_does(local_service: Service) -> None:
    pushed = local_service.push(WITH_MAKE)
    assert pushed.code == 1
    assert "build.dockerfile = 'Dockerfile': custom Dockerfiles are off on this instance" in pushed.output
    assert "ask the operator to set HERMES_DOCKERFILES=on" in pushed.output
