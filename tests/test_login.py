"""Signing in: the token asked for without echo, kept where only its owner reads it, and given to git."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.cli.git_setup import repo_name
from hermes.names import check_name
from tests.person import Done, Person
from tests.service import Service, WorkTree
from tests.stand_in import answering, refusing

FILES: dict[str, str | bytes] = {"Makefile": "run:\n\t@echo hello\n"}


@pytest.fixture
def ada(tmp_path: Path) -> Person:
    return Person(tmp_path / "home")


def error_of(done: Done) -> list[str]:
    """An error is on stderr only: what happened, and the next step."""
    assert done.returncode == 1 and done.stdout == b"", done
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("hermes: ") and "Traceback" not in lines, lines
    return lines


def sign_in(person: Person, service: Service, *options: str) -> str:
    return person.ok("login", service.url, "--token-stdin", *options, stdin=service.token.encode())


def kept(person: Person) -> Path:
    return person.home / ".config" / "hermes" / "servers.json"


def test_token_is_asked_for_without_echo(service: Service, ada: Person) -> None:
    with ada.terminal("login", service.url, "--no-git") as terminal:
        terminal.until("Token: ")
        terminal.type(service.token + "\n")
        code, shown = terminal.end()
    assert code == 0, shown
    assert service.token not in shown
    assert f"{service.url}/settings/tokens" in shown
    assert f"signed in to {service.url} as alice; the token is in {kept(ada)}" in shown


def test_only_the_owner_can_read_the_token(service: Service, ada: Person) -> None:
    sign_in(ada, service)
    assert kept(ada).stat().st_mode & 0o777 == 0o600
    assert kept(ada).parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in kept(ada).parent.iterdir()] == ["servers.json"]


def test_folder_of_settings_is_the_one_of_xdg(service: Service, ada: Person) -> None:
    ada.env["XDG_CONFIG_HOME"] = str(ada.home / "xdg")
    sign_in(ada, service)
    assert (ada.home / "xdg" / "hermes" / "servers.json").exists()


def test_git_needs_no_token_any_more(service: Service, ada: Person) -> None:
    tree = service.worktree(FILES, "My Project")
    ada.here = tree.folder
    said = sign_in(ada, service)
    remote = f"{service.url}/alice/{repo_name(tree.folder.name)}.git"
    assert f"remote gpu is {remote}" in said and "git push gpu main" in said
    pushed = git(ada, tree, "push", "gpu", "HEAD:main")
    assert pushed.returncode == 0 and "hello" in pushed.stderr, pushed.stderr


def git(person: Person, tree: WorkTree, *args: str) -> "subprocess.CompletedProcess[str]":
    command = ["git", *args]
    return subprocess.run(
        command, cwd=tree.folder, env=person.environment(), capture_output=True, text=True, check=False
    )


def test_a_remote_that_is_there_stays(service: Service, ada: Person) -> None:
    tree = service.worktree(FILES, "kept")
    tree.git("remote", "add", "gpu", "http://elsewhere/a/b.git")
    ada.here = tree.folder
    assert "remote gpu" not in sign_in(ada, service)
    assert tree.git("remote", "get-url", "gpu") == "http://elsewhere/a/b.git"


def test_other_helpers_of_git_are_not_asked_and_other_hosts_are(service: Service, ada: Person) -> None:
    stored = ada.home / ".git-credentials"
    stored.write_text("http://someone:secret@127.0.0.1\n")
    (ada.home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    sign_in(ada, service)
    assert f"password={service.token}" in fill(ada, service.url)
    assert "password=secret" in fill(ada, "http://127.0.0.1")
    assert stored.read_text() == "http://someone:secret@127.0.0.1\n"


def fill(person: Person, url: str) -> str:
    protocol, _, host = url.partition("://")
    asked = f"protocol={protocol}\nhost={host}\n\n"
    done = subprocess.run(
        ["git", "credential", "fill"],
        input=asked,
        env=person.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_no_git_leaves_git_alone(service: Service, ada: Person) -> None:
    sign_in(ada, service, "--no-git")
    assert not (ada.home / ".gitconfig").exists()


def test_helper_says_nothing_about_others(service: Service, ada: Person) -> None:
    sign_in(ada, service)
    host = service.url.partition("://")[2]
    for asked in ("protocol=http\nhost=else.where\n", f"protocol=http\nhost={host}\nusername=bob\n", ""):
        assert ada.ok("git-credential", "get", stdin=asked.encode()) == ""
    told = ada.hermes("git-credential", "erase", stdin=f"protocol=http\nhost={host}\n".encode())
    assert f"hermes login {service.url}" in told.stderr.decode()


def test_logout_forgets_and_leaves_git_as_it_was(service: Service, ada: Person) -> None:
    sign_in(ada, service)
    assert "stays good" in ada.ok("logout")
    assert service.token not in kept(ada).read_text()
    assert "credential" not in (ada.home / ".gitconfig").read_text().replace("[credential", "")
    assert error_of(ada.hermes("whoami"))[1] == "  hermes login http://gpu.lab:8000"
    assert "not signed in" in error_of(ada.hermes("logout"))[0]


def test_whoami_says_who_where_and_how_long(service: Service, ada: Person) -> None:
    sign_in(ada, service)
    assert ada.ok("whoami").startswith(f"alice at {service.url} (token 'first token', until it is revoked)")
    said = json.loads(ada.ok("remote:whoami", "-j"))
    assert (said["name"], said["server"], said["token"]["scope"]) == ("alice", service.url, "all")


def test_several_servers_are_told_apart(service: Service, local_service: Service, ada: Person) -> None:
    sign_in(ada, service)
    ada.ok("login", local_service.url, "--token-stdin", stdin=local_service.token.encode())
    assert f"alice at {local_service.url} (" in ada.ok("whoami")
    for server in (service.url, service.url.partition("://")[2]):
        assert f"alice at {service.url} (" in ada.ok("whoami", "--server", server)
    ada.env["HERMES_SERVER"] = service.url
    assert f"alice at {service.url} (" in ada.ok("whoami")
    assert "no server 'gpu.lab' is known" in error_of(ada.hermes("whoami", "--server", "gpu.lab"))[0]


def test_scripts_need_no_login(service: Service, ada: Person) -> None:
    ada.env |= {"HERMES_SERVER": service.url, "HERMES_TOKEN": service.token}
    assert "alice" in ada.ok("whoami")
    assert not kept(ada).exists()


@pytest.fixture
def keyring(ada: Person, tmp_path: Path) -> Iterator[Path]:
    """A desktop's keyring: a backend of the real library, which keeps a file."""
    folder = tmp_path / "backend"
    folder.mkdir()
    (folder / "desktop.py").write_text(
        "import json, pathlib\n"
        "from keyring.backend import KeyringBackend\n"
        "FILE = pathlib.Path(__file__).with_name('secrets.json')\n"
        "class Desktop(KeyringBackend):\n"
        "    priority = 5\n"
        "    def _all(self): return json.loads(FILE.read_text()) if FILE.exists() else {}\n"
        "    def get_password(self, service, user): return self._all().get(f'{service} {user}')\n"
        "    def set_password(self, service, user, word):\n"
        "        FILE.write_text(json.dumps(self._all() | {f'{service} {user}': word}))\n"
        "    def delete_password(self, service, user):\n"
        "        rest = {k: v for k, v in self._all().items() if k != f'{service} {user}'}\n"
        "        FILE.write_text(json.dumps(rest))\n"
    )
    ada.env |= {
        "PYTHON_KEYRING_BACKEND": "desktop.Desktop",
        "PYTHONPATH": os.pathsep.join([ada.environment()["PYTHONPATH"], str(folder)]),
    }
    yield folder / "secrets.json"


def test_a_keyring_keeps_the_token_if_there_is_one(service: Service, ada: Person, keyring: Path) -> None:
    assert "the token is in the system's keyring" in sign_in(ada, service)
    assert service.token not in kept(ada).read_text() and service.token in keyring.read_text()
    assert "alice" in ada.ok("whoami")
    assert f"password={service.token}" in fill(ada, service.url)
    ada.ok("logout")
    assert service.token not in keyring.read_text()


def test_a_keyring_that_does_not_answer_says_what_to_do(service: Service, ada: Person, keyring: Path) -> None:
    sign_in(ada, service)
    ada.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    lines = error_of(ada.hermes("whoami"))
    assert "keyring does not give the token" in lines[0] and "HERMES_TOKEN" in lines[1]


def test_wrong_tokens_are_refused_with_the_place_of_good_ones(service: Service, ada: Person) -> None:
    for token in (b"hermes_wrong", b"", b"two words", b"\xff\xfe"):
        lines = error_of(ada.hermes("login", service.url, "--token-stdin", stdin=token))
        assert f"{service.url}/settings/tokens" in lines[1], lines
    assert not kept(ada).exists()


def test_token_that_is_not_good_any_more_says_how_to_go_on(service: Service, ada: Person) -> None:
    ada.env |= {"HERMES_SERVER": service.url, "HERMES_TOKEN": "hermes_expired"}
    for command in ("whoami", "executions list"):
        lines = error_of(ada.hermes(*command.split()))
        assert "does not take the token" in lines[0] and lines[1] == f"  hermes login {service.url}"


def test_without_a_terminal_nothing_is_asked(service: Service, ada: Person) -> None:
    assert "--token-stdin" in error_of(ada.hermes("login", service.url))[1]


@pytest.mark.parametrize(
    "address", ["gpu.lab", "ftp://gpu.lab", "http://", "http://x:99999", "http://[::1", "alice"]
)
def test_what_is_no_address_is_told(ada: Person, address: str) -> None:
    assert "is not the address of a server" in error_of(ada.hermes("login", address))[0]


def test_nothing_there_is_told(ada: Person) -> None:
    for url, words in (
        ("http://127.0.0.1:9", "nothing answers at"),
        ("http://no.such.host.invalid", "nothing answers"),
    ):
        lines = error_of(ada.hermes("login", url))
        assert words in lines[0] and url in lines[0] and lines[1].startswith("  is the address right"), lines


def test_other_programs_and_versions_are_told(ada: Person) -> None:
    cases = {
        b"<html>not found</html>": (404, {}, "is no Hermes server (404"),
        b"welcome": (200, {}, "is no Hermes server (200"),
        b'{"version": "9.1", "api": 9}': (200, {}, "the server is hermes 9.1 with API 9"),
        b"gone": (404, {"X-Hermes-Version": "9.1"}, "is hermes 9.1, which has no API 1"),
        b"bad gateway": (502, {}, "the server behind it does not (502)"),
        b"": (301, {"Location": "https://new.lab/api/v1/version"}, "the server has moved to https://new.lab"),
    }
    for body, (status, headers, words) in cases.items():
        with answering(status, body, headers) as url:
            assert words in error_of(ada.hermes("login", url))[0]


def test_trouble_with_tls_is_told(ada: Person, service: Service, tmp_path: Path) -> None:
    lines = error_of(ada.hermes("login", service.url.replace("http:", "https:")))
    assert "does not speak TLS" in lines[0] and lines[1] == f"  is it {service.url}?"
    with answering(200, b'{"version": "9.1", "api": 9}', {}, tls=tmp_path) as url:
        lines = error_of(ada.hermes("login", url))
        assert "is not trusted" in lines[0] and "SSL_CERT_FILE" in lines[1]
        ada.env["SSL_CERT_FILE"] = str(tmp_path / "certificate.pem")
        assert "with API 9" in error_of(ada.hermes("login", url))[0]


def test_a_server_that_hangs_up_is_told(ada: Person) -> None:
    with refusing() as url:
        assert f"{url} ended the connection" in error_of(ada.hermes("login", url))[0]


def test_a_file_that_is_damaged_says_what_to_do(ada: Person) -> None:
    kept(ada).parent.mkdir(parents=True)
    for content in ("{", "[]", '{"default": 1, "servers": {"a": 1}}'):
        kept(ada).write_text(content)
        lines = error_of(ada.hermes("whoami"))
        assert str(kept(ada)) in lines[0] and "delete it" in lines[1]


@pytest.mark.parametrize(
    "folder",
    ["Pi.Test", "My Project", "..", "é", "a" * 90, "x.git", "repo.lock.git", "A__B--", "a..b", ".hidden"],
)
def test_every_folder_becomes_a_name_that_the_server_takes(folder: str) -> None:
    assert check_name(repo_name(folder), "repo")


def test_the_doctor_of_a_machine_without_an_instance_looks_at_its_server(
    service: Service, ada: Person
) -> None:
    sign_in(ada, service)
    found = {each["name"]: each for each in json.loads(ada.ok("doctor", "--json"))["findings"]}
    assert list(found) == ["server", "token", "git", "git token"]
    assert {each["status"] for each in found.values()} == {"ok"}, found
    assert "you are alice" in found["token"]["found"] and service.url in found["server"]["found"]
    with service.client() as client:
        brief = client.post("/api/v1/tokens", json={"name": "brief", "expires_in": "1h"}).json()["token"]
    ada.env["HERMES_TOKEN"] = brief
    assert "warning  token" in ada.ok("doctor") and "by token 'brief', for" in ada.ok("doctor")
    ada.env["HERMES_TOKEN"] = "hermes_nonsense"
    ill = ada.hermes("doctor")
    assert ill.returncode == 1 and b"it is not taken" in ill.stdout
    ill = ada.hermes("doctor", "--server", "http://127.0.0.1:9")
    assert ill.returncode == 1 and b"problem  server     nothing answers at http://127.0.0.1:9" in ill.stdout
    with answering(200, b'{"version": "9.9.9", "api": 9}', {"Content-Type": "application/json"}) as url:
        assert b"9.9.9 with API 9" in ada.hermes("doctor", "--server", url).stdout
