"""`build.packages`: installed once into a layer of their own, from a source that the test brings along."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hermes.errors import Refused, Unavailable
from hermes.executors.container import Ground
from hermes.executors.docker import DockerExecutor
from hermes.executors.engine import engine_url
from hermes.executors.installed import Installed
from hermes.images import load_images
from hermes.packages import check_package, check_packages, parse_allowed
from tests.service import PATIENCE_S, Pushed, Service, living, wait_for

MARK = f"hermes.test={os.getpid()}"  # others may test on the same machine
BASE = f"hermes-test/packages-{os.getpid()}:1"
# A source of packages in the base image itself: one with a program and a header, one that needs it, and
# those that are trouble.
ARCHIVE = r"""
set -e
mkdir -p /archive && cd /archive
deb() { # NAME [CONTROL LINE]
  mkdir -p $1/DEBIAN
  { printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: test\nDescription: test\n' $1
    [ -z "$2" ] || printf '%s\n' "$2"; } >$1/DEBIAN/control
  dpkg-deb --root-owner-group -b $1 >/dev/null
  { cat $1/DEBIAN/control; echo "Filename: ./$1.deb"; echo "Size: $(stat -c %s $1.deb)"
    echo "SHA256: $(sha256sum $1.deb | cut -d' ' -f1)"; echo; } >>Packages
}
mkdir -p libgood-dev/usr/include libgood-dev/usr/bin
echo '#define GOOD 42' >libgood-dev/usr/include/good.h
printf '#!/bin/sh\necho good day\n' >libgood-dev/usr/bin/good-day && chmod 755 libgood-dev/usr/bin/good-day
deb libgood-dev
deb needs-good 'Depends: libgood-dev'
deb never 'Depends: nowhere (>= 2)'
deb huge 'Installed-Size: 9000000'
last() { # NAME SCRIPT : a package that runs it when it is installed
  mkdir -p $1/DEBIAN && printf '#!/bin/sh\n%s\n' "$2" >$1/DEBIAN/postinst && chmod 755 $1/DEBIAN/postinst
  deb $1
}
last broken 'exit 7'
last slow 'sleep 600'
rm -f /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/archive ./' >/etc/apt/sources.list
"""
IMAGES = f"""
[cpp]
reference = "{BASE}"
languages = ["cpp"]
"""
MAIN = '#include <good.h>\n#include <cstdio>\nint main() { std::printf("good = %d\\n", GOOD); }\n'
MAKEFILE = "app: main.cpp\n\tg++ main.cpp -o app\nrun:\n\t@./app; good-day\n"


def docker(*words: str) -> str:
    """What the engine's own command line prints."""
    done = subprocess.run(
        ["docker", "-H", engine_url(), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def layers() -> set[str]:
    """What is kept above the test's base image."""
    return {*docker("images", "-q", "--no-trunc", "--filter", f"label={MARK}", "hermes/packages").split()}


@pytest.fixture(scope="module")
def base(engine: None) -> Iterator[None]:
    """A base image whose package source lies in itself: nothing is fetched."""
    reference = load_images(Path())["cpp"].reference
    container = docker("create", "--network", "none", reference, "sh", "-c", ARCHIVE)
    try:
        docker("start", "-a", container)
        docker("commit", "-c", f"LABEL {MARK}", container, BASE)
    finally:
        docker("rm", "-f", container)
    yield
    # also what was being made when the service ended: nobody takes it away later
    wait_for(lambda: docker("ps", "-aq", "--filter", f"label={MARK}") == "")
    docker("rmi", "-f", *layers(), BASE)


@pytest.fixture(scope="module")
def service(base: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that offers it."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "images.toml").write_text(IMAGES)
    env = {
        "HERMES_EXECUTOR": "docker",
        "HERMES_IMAGES": str(folder / "images.toml"),
        "HERMES_PACKAGES": "lib* needs-good never huge broken slow",
        "HERMES_PACKAGES_NETWORK": "none",
        "HERMES_REDIS_URL": "none",
        "HERMES_POLL": "0.2",
    }
    with living(Service(folder / "var", env)) as one:
        yield one


def push(service: Service, packages: str, **files: str) -> Pushed:
    """A program that needs libgood-dev, with these packages."""
    manifest = f"[build]\npackages = {packages}\n"
    return service.push({"hermes.toml": manifest, "Makefile": MAKEFILE, "main.cpp": MAIN, **files})


def build_page(service: Service, pushed: Pushed) -> str:
    """The page of its build."""
    build = service.settled(pushed)["builds"][0]
    with service.client() as client:
        return client.get(f"/builds/{build['id']}").text


def test_packages_are_there_when_make_and_the_program_run(service: Service) -> None:
    before = layers()
    pushed = push(service, '["libgood-dev"]')
    assert pushed.code == 0, pushed.output
    assert "hermes: packages libgood-dev: installing" in pushed.output
    assert {"good = 42", "good day"} <= {*pushed.lines}
    assert len(layers() - before) == 1
    again = push(service, '["libgood-dev", "libgood-dev"]')
    assert "installing" not in again.output and "good = 42" in again.lines
    assert len(layers() - before) == 1, "the same packages are the same layer"
    assert "Install the packages" in build_page(service, pushed)
    assert re.search(
        r"Packages</td><td[^>]*>libgood-dev .*made by this build in .*, and kept", build_page(service, pushed)
    )
    assert re.search(
        r"Packages</td><td[^>]*>libgood-dev.*cached: on this machine before", build_page(service, again)
    )
    assert docker("ps", "-aq", "--filter", f"label={MARK}", "--filter", "name=hermes-packages-") == ""


def test_layer_that_was_removed_is_made_again_for_a_run(service: Service) -> None:
    pushed = push(service, '["needs-good"]')
    assert pushed.code == 0, pushed.output
    run = service.run_of(pushed)
    docker("rmi", "-f", *layers())
    with service.client() as client:
        answer = client.post(f"/api/v1/runs/{run['id']}/again", json={})
    assert answer.status_code in (201, 202), answer.text
    assert [each["state"] for each in service.settled(pushed)["runs"]] == ["succeeded", "succeeded"]


def test_package_that_does_not_exist_fails_the_build_with_the_nearest_name(service: Service) -> None:
    pushed = push(service, '["libgod-dev"]')
    words = "build.packages: the base image's Debian has no package libgod-dev"
    assert f"hermes: {words}; did you mean libgood-dev?" in pushed.lines
    build = service.settled(pushed)["builds"][0]
    assert (build["state"], build["reason"]) == ("failed", words)


@pytest.fixture
async def executor(base: None, tmp_path: Path) -> AsyncIterator[DockerExecutor]:
    """One without a service."""
    one = DockerExecutor(tmp_path, "hermes-test", Ground(packages_network="none"))
    yield one
    await one.close()


async def test_two_at_a_time_share_the_making(executor: DockerExecutor) -> None:
    before, said = layers(), list[str]()
    names = "needs-good", "libgood-dev"
    needs = [executor.layers.need(BASE, order, said.append) for order in (names, names[::-1])]
    await asyncio.gather(*needs)
    assert len(layers() - before) == 1
    assert said[:2] == ["packages libgood-dev, needs-good: installing"] * 2


TROUBLE = [
    ("never", Refused, r"build\.packages cannot be installed: never : Depends: nowhere \(>= 2\)"),
    ("huge", Refused, r"build\.packages: 8\.6 GiB in all, 4\.0 GiB is the most"),
    ("broken", Unavailable, r"packages cannot be installed: Sub-process /usr/bin/dpkg returned an error"),
]


@pytest.mark.parametrize(("name", "error", "words"), TROUBLE, ids=[name for name, _, _ in TROUBLE])
async def test_packages_that_cannot_be_had_are_told_and_leave_nothing(
    executor: DockerExecutor, name: str, error: type[Exception], words: str
) -> None:
    before = layers()
    with pytest.raises(error, match=words):
        await executor.layers.need(BASE, [name], print)
    assert layers() == before
    assert docker("ps", "-aq", "--filter", f"label={MARK}") == ""


REFUSED = [
    ('["sl"]', "build.packages: sl is not allowed here"),
    ('["-o=Foo"]', "hermes.toml:2:1: build.packages: '-o=Foo' is not the name of a Debian package"),
]


@pytest.mark.parametrize(("packages", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_names_that_are_none_and_packages_that_are_not_allowed_refuse_the_push(
    service: Service, packages: str, words: str
) -> None:
    pushed = push(service, packages)
    assert pushed.code == 1 and words in pushed.output


def test_build_is_cancelled_while_packages_are_installed(service: Service) -> None:
    tree = service.worktree({"hermes.toml": '[build]\npackages = ["slow"]\n', "Makefile": MAKEFILE})
    pushed = service.push(tree, "detach", repo="slow")
    build = service.commit_page(pushed)["builds"][0]["id"]
    wait_for(lambda: b"packages slow: installing" in service.read_log("builds", build))
    container = wait_for(
        lambda: docker("ps", "-q", "--filter", f"label={MARK}", "--filter", "name=hermes-packages-")
    )
    host = json.loads(docker("inspect", "-f", "{{json .HostConfig}}", container))
    assert (host["Binds"], host["NetworkMode"], host["CapDrop"], host["Privileged"]) == (
        None,
        "none",
        ["ALL"],
        False,
    )
    assert "SYS_ADMIN" not in host["CapAdd"] and host["PidsLimit"] and host["Memory"]
    assert "no-new-privileges" in host["SecurityOpt"]
    with service.client() as client:
        assert client.post(f"/api/v1/builds/{build}/cancel").status_code < 300
    assert service.settled(pushed)["builds"][0]["state"] == "cancelled"


@pytest.mark.parametrize(
    "name", ["a-", "a=1.0", "a/stable", "a:i386", "a b", "$(id)", "A", "a", "", "~n", "a*", "é1", "a\n"]
)
def test_what_apt_would_read_as_more_than_a_name_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a Debian package"):
        check_package(name)


def test_rule_of_an_instance() -> None:
    check_packages(["anything"], "on")
    check_packages([], "off")
    with pytest.raises(Refused, match="installs no packages"):
        check_packages(["libgood-dev"], "off")
    with pytest.raises(ValueError, match="must be on, off, or names"):
        parse_allowed("lib[a-z]")


async def test_local_executor_says_what_its_machine_lacks() -> None:
    await Installed().need("", (), print)
    await Installed().need("", ("dpkg",), print)
    with pytest.raises(Refused, match="not installed on this machine: no-such-package-here") as caught:
        await Installed().need("", ("dpkg", "no-such-package-here"), print)
    assert "apt-get install no-such-package-here" in caught.value.hint
