"""The command line as an operator meets it: clear words, nothing else on stdout, never a traceback."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hermes.checks import check_ports
from hermes.cli.commands import hermes
from hermes.errors import SettingsError, UserError
from hermes.names import check_name
from hermes.settings import load_settings
from tests.service import PATIENCE_S, Service

TOKEN = re.compile(r"hermes_[A-Za-z0-9_-]{43}\n")


@pytest.fixture
def fresh(tmp_path: Path) -> Service:
    """An instance that was never started."""
    return Service(tmp_path / "var", {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none"})


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command that failed says: on stderr only, without a traceback."""
    assert done.returncode != 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_user_add_prints_the_token_and_nothing_else(fresh: Service) -> None:
    done = fresh.hermes("admin", "user", "add", "ada")
    assert TOKEN.fullmatch(done.stdout)
    assert done.stderr == "user ada made; the token above is shown only this once\n"


def test_user_made_while_the_service_runs_can_push_at_once(service: Service) -> None:
    token = service.add_user("carol")
    pushed = service.push(
        {"Makefile": "run:\n\t@echo hello\n"}, repo="carol/hello", user="carol", token=token
    )
    assert pushed.code == 0, pushed.output
    assert "hello" in pushed.lines


def test_second_token_is_another_one(fresh: Service) -> None:
    first = fresh.add_user("ada")
    second = fresh.hermes("admin", "token", "add", "ada", "--name", "laptop").stdout
    assert TOKEN.fullmatch(second) and second.strip() != first


def test_token_for_nobody_is_refused(fresh: Service) -> None:
    words = complaint(fresh.hermes("admin", "token", "add", "nobody", check=False))
    assert words == "hermes: there is no user 'nobody'\n  hermes admin user add nobody\n"


def test_taken_name_is_refused_with_the_next_step(fresh: Service) -> None:
    fresh.add_user("ada")
    words = complaint(fresh.hermes("admin", "user", "add", "ada", check=False))
    assert words == "hermes: user 'ada' exists\n  for another token: hermes admin token add ada\n"


def test_bad_name_is_refused_with_the_rule(fresh: Service) -> None:
    words = complaint(fresh.hermes("admin", "user", "add", "a/b", check=False))
    assert words.startswith("hermes: 'a/b' cannot be the name of a user\n  use 1 to 64 of a-z 0-9 . _ -")


@pytest.mark.parametrize("name", ["Ada", "..", "", "-", "a..b", "x" * 65, "é", "a.git", "a b", "a\n", "runs"])
def test_name_that_cannot_be_a_part_of_an_address_is_none(name: str) -> None:
    with pytest.raises(UserError, match=r"cannot be the name of a user|is a page of this service"):
        check_name(name, "user")


def test_users_are_listed_for_people_and_for_programs(fresh: Service) -> None:
    assert json.loads(fresh.hermes("admin", "user", "list", "--json").stdout) == []
    fresh.add_user("ada")
    fresh.hermes("admin", "user", "add", "root", "--admin")
    listed = json.loads(fresh.hermes("admin", "user", "list", "--json").stdout)
    assert [(each["name"], each["admin"], each["repos"]) for each in listed] == [
        ("ada", False, 0),
        ("root", True, 0),
    ]
    text = fresh.hermes("admin", "user", "list").stdout
    assert re.fullmatch(r"ada +\d{4}-\d\d-\d\d  0 repos\nroot +\d{4}-\d\d-\d\d  0 repos  admin\n", text)


def test_images_are_listed_for_people_and_for_programs(fresh: Service) -> None:
    listed = json.loads(fresh.hermes("images", "--json").stdout)
    assert [each["name"] for each in listed] == ["cpp", "cuda-13.0"]
    assert all(each["present"] and each["reference"] and each["languages"] for each in listed)
    assert "cuda-13.0    cuda, cpp  CUDA 13.0" in fresh.hermes("images").stdout


COMMANDS = ["", "up", "demo", "admin", "admin user", "admin user add", "admin user list"]
COMMANDS += ["init", "templates", "templates list", "templates show"]
COMMANDS += ["login", "logout", "whoami", "run", "logs", "artifacts", "executions", "executions list"]
COMMANDS += [
    "executions inspect",
    "schedules",
    "schedules list",
    "schedules pause",
    "schedules resume",
    "schedules run",
    "functions",
    "functions delete",
    "completion",
    "admin token",
    "admin token add",
    "images",
    "doctor",
    "gpus",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(command: str, flag: str) -> None:
    shown = CliRunner().invoke(hermes, [*command.split(), flag], prog_name="hermes")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: hermes {command}".rstrip())
    assert "." in shown.output.split("\n\n")[1]  # a sentence on what it does


def test_unknown_command_is_refused(fresh: Service) -> None:
    assert "No such command 'pu'" in complaint(fresh.hermes("pu", check=False))


WRONG = [
    ("HERMES_PORT", "abc", "must be a port number from 1 to 65535"),
    ("HERMES_PORT", "70000", "must be a port number from 1 to 65535"),
    ("HERMES_EXECUTOR", "podman", "must be one of auto, docker, local"),
    ("HERMES_LEASE", "soon", "'soon' is not a duration; write for example 90s, 15m or 1h30m"),
    ("HERMES_DISK", "big", "'big' is not a size; write for example 512M, 4G or 1.5G"),
    ("HERMES_URL", "gpu.lab", "must start with http:// or https://"),
    ("HERMES_CPUS", "-1", "must be a whole number, 0 or more"),
]


@pytest.mark.parametrize(("variable", "value", "words"), WRONG)
def test_wrong_setting_is_told_with_its_name_and_what_it_takes(variable: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: value})
    assert str(caught.value).startswith(f"{variable}={value!r}: {words}\n  {variable}: ")


def test_one_port_for_two_doors_is_refused() -> None:
    with pytest.raises(SettingsError, match="HERMES_SSH_PORT and HERMES_PORT are both 8765"):
        check_ports(load_settings({"HERMES_PORT": "8765", "HERMES_SSH_PORT": "8765"}))


@pytest.mark.parametrize("command", ["up", "demo", "images", "gpus", "admin user list"])
def test_wrong_setting_stops_every_command_with_one_clear_line(fresh: Service, command: str) -> None:
    fresh.env["HERMES_EXECUTOR"] = "podman"
    said = complaint(fresh.hermes(*command.split(), check=False))
    assert said.startswith("hermes: HERMES_EXECUTOR='podman': must be one of auto, docker, local\n")
    assert len(said.splitlines()) == 2  # the second says what the setting is


def test_port_that_is_none_is_told(fresh: Service) -> None:
    environment = fresh.environment() | {"HERMES_PORT": "abc"}
    command = [sys.executable, "-m", "hermes", "up"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (
        complaint(done).splitlines()[0] == "hermes: HERMES_PORT='abc': must be a port number from 1 to 65535"
    )


def test_wrong_image_table_is_told_with_its_setting(fresh: Service) -> None:
    fresh.env["HERMES_IMAGES"] = "/nowhere/images.toml"
    said = complaint(fresh.hermes("images", check=False))
    assert said.startswith("hermes: HERMES_IMAGES=/nowhere/images.toml: ")
    assert "No such file" in said
