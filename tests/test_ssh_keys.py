"""Who gets in over SSH and who does not: keys that are good, bad, taken, gone, guessed; the host's own."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_USERAUTH_REQUEST
from asyncssh.packet import Boolean, String

from hermes.errors import UserError
from hermes.ssh_keys import read_key
from tests.service import Service, living
from tests.ssh import Person, command, make_key, person, public, run

DENIED = "Permission denied (publickey)."
FAILURES = 30


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance of our own: what fails to sign in there is counted."""
    env = {"HERMES_EXECUTOR": "local", "HERMES_REDIS_URL": "none", "HERMES_LOGIN_FAILURES": str(FAILURES)}
    with living(Service(tmp_path_factory.mktemp("guarded"), env)) as one:
        yield one


@pytest.fixture(scope="module")
def alice(guarded: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who gets in."""
    return person(guarded, tmp_path_factory.mktemp("keys"), "alice")


# ---- keys


def test_kinds_of_keys_that_sign_in(alice: Person, tmp_path: Path) -> None:
    for kind, options in {
        "ecdsa": ("-t", "ecdsa", "-b", "384"),
        "rsa": ("-t", "rsa", "-b", "3072"),
        "ed25519": ("-t", "ed25519"),
    }.items():
        other = person(alice.service, tmp_path, "alice", make_key(tmp_path, *options, name=kind))
        done = other.ssh("id")
        assert done.stderr.startswith("Hi alice! You are signed in"), (kind, done.stderr)


NO_KEYS = [
    ("", "this is not a public key"),
    ("garbage", "this is not a public key"),
    ("ssh-ed25519 AAAA", "this is not a public key"),
    ("ssh-dss AAAAB3NzaC1kc3M=", "this is not a public key"),
    ("a\nb", "a public key is one line"),
    ("ssh-rsa " + "A" * 30_000, "a public key is one line"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb", "this is a private key: it must never leave your machine"),
]


@pytest.mark.parametrize(("text", "words"), NO_KEYS, ids=range(len(NO_KEYS)))
def test_what_is_not_a_key_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read_key(text)
    assert "ssh-keygen" in caught.value.hint


def test_weak_keys_and_certificates_are_refused_in_words(tmp_path: Path) -> None:
    weak = make_key(tmp_path, "-t", "rsa", "-b", "1024", name="weak")
    with pytest.raises(UserError, match="an RSA key needs at least 2048 bits"):
        read_key(public(weak))
    strong = make_key(tmp_path)
    run(["ssh-keygen", "-q", "-s", str(weak), "-I", "me", "-n", "git", f"{strong}.pub"]).check_returncode()
    with pytest.raises(UserError, match="this is not a public key"):
        read_key(Path(f"{strong}-cert.pub").read_text())


def test_a_key_signs_one_account_in(alice: Person, tmp_path: Path) -> None:
    for user in ("alice", "somebody"):
        with pytest.raises(UserError, match="is in use already"):
            person(alice.service, tmp_path, user, alice.key)


def test_the_operators_command_takes_public_keys_only(alice: Person, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    added = alice.service.admin("key", "add", "alice", f"{key}.pub")
    assert "signs alice in over SSH" in added.stdout
    done = alice.service.admin("key", "add", "alice", str(key), check=False)
    assert done.returncode == 1 and "this is a private key" in done.stderr and "Traceback" not in done.stderr


def test_a_key_that_is_removed_is_refused_at_once_and_on_connections_that_are_open(
    alice: Person, tmp_path: Path
) -> None:
    leaver = person(alice.service, tmp_path, "alice", make_key(tmp_path))
    shared = ("-o", f"ControlPath={tmp_path / 'c'}")
    words = leaver.words("-o", "ControlMaster=yes", *shared, "-p", str(leaver.service.ssh_port))
    master = subprocess.Popen([*words, "-N", "git@127.0.0.1"])
    try:
        while leaver.ssh(options=(*shared, "-O", "check")).returncode != 0:
            assert master.poll() is None
        assert leaver.ssh("id", options=shared).stderr.startswith("Hi alice!")
        newest = json.loads(leaver.service.admin("key", "list", "alice", "--json").stdout)[0]
        assert newest["name"] == "id@laptop" and newest["last_used_at"] >= newest["created_at"]
        leaver.service.admin("key", "remove", "alice", str(newest["id"]))
        done = leaver.git("ls-remote", leaver.url("any"))
        assert done.returncode == 128 and DENIED in done.stderr
        over = leaver.ssh("git-upload-pack 'alice/any.git'", options=shared)
        assert (over.returncode, over.stdout[4:]) == (
            1,
            "ERR this key signs nobody in any more; add it anew, or use another\n",
        )
    finally:
        master.terminate()
        master.wait()


# ---- strangers


def test_unknown_keys_and_passwords_are_not_let_in(alice: Person, tmp_path: Path) -> None:
    stranger = Person(alice.service, make_key(tmp_path / "stranger"), "alice")
    done = stranger.git("ls-remote", stranger.url("any"))
    assert done.returncode == 128 and DENIED in done.stderr
    password = ("-o", "PreferredAuthentications=password,keyboard-interactive,hostbased,gssapi-with-mic")
    done = alice.ssh("id", options=password)
    assert done.returncode == 255 and DENIED in done.stderr


def test_a_right_key_is_found_among_others_and_too_many_end_the_connection(
    alice: Person, tmp_path: Path
) -> None:
    others = [make_key(tmp_path, name=f"k{number}") for number in range(21)]
    some = [word for key in others[:5] for word in ("-i", str(key))]
    stranger = Person(alice.service, others[0], "alice")
    assert stranger.ssh("id", options=(*some, "-i", str(alice.key))).stderr.startswith("Hi alice!")
    everything = [word for key in others for word in ("-i", str(key))]
    done = stranger.ssh("id", options=tuple(everything))
    assert done.returncode == 255
    assert "none of so many keys is known here; ssh -i KEY -o IdentitiesOnly=yes" in done.stderr


class Liar(asyncssh.SSHKeyPair):
    """Shows one key and signs with another; `meanwhile` happens between the two."""

    def __init__(self, shown: asyncssh.SSHKey, signing: asyncssh.SSHKey, meanwhile: Any = None) -> None:
        super().__init__(shown.algorithm, shown.algorithm, (shown.algorithm,), (), shown.public_data, None)
        self._signing, self._meanwhile = signing, meanwhile

    def sign(self, data: bytes) -> bytes:
        signature = self._signing.sign(data, self.sig_algorithm)
        if self._meanwhile is not None:
            self._meanwhile()
        return signature


async def test_nobody_gets_in_by_anothers_public_key(alice: Person, tmp_path: Path) -> None:
    known = asyncssh.read_public_key(f"{alice.key}.pub")
    mine = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        async with alice.connection(client_keys=[Liar(known, mine)]):
            pass


async def test_nobody_becomes_another_by_asking_for_their_key_while_their_own_is_checked(
    alice: Person, tmp_path: Path
) -> None:
    """Mallory's own key signs; before and after it, in one go, she asks whether alice's key would do."""
    mallory = person(alice.service, tmp_path, "mallory")
    known = asyncssh.read_public_key(f"{alice.key}.pub")
    own = asyncssh.read_private_key(mallory.key)

    class Watch(asyncssh.SSHClient):
        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            self.connection = conn

        def ask(self) -> None:
            self.connection.send_packet(
                MSG_USERAUTH_REQUEST, String("git"), String("ssh-connection"), String("publickey"),
                Boolean(False), String(known.algorithm), String(known.public_data),
            )  # fmt: skip

    async def greeting(when: str) -> str:
        watch = Watch()

        def meanwhile() -> None:
            if when == "before":
                watch.ask()
            else:
                asyncio.get_running_loop().call_soon(watch.ask)

        liar = Liar(own.convert_to_public(), own, meanwhile)
        async with (
            mallory.connection(client_keys=[liar], client_factory=lambda: watch) as connection,
            command(connection, "id") as process,
        ):
            return (await process.stderr.read()).decode()

    seen = []
    for when in ("before", "after") * 5:
        with suppress(asyncssh.Error, OSError):
            seen.append(await greeting(when))
    assert set(seen) <= {seen[0]} and seen[0].startswith("Hi mallory!"), seen


# ---- the host


def test_host_key_is_kept_secret_and_its_fingerprint_is_in_the_log(alice: Person) -> None:
    key = alice.service.data / "ssh_host_ed25519_key"
    assert key.stat().st_mode & 0o777 == 0o600
    fingerprint = run(["ssh-keygen", "-lf", f"{key}.pub"]).stdout.split()[1]
    assert re.search(rf"git over ssh .*host_key={re.escape(fingerprint)}", alice.service.log)


def test_who_fails_too_often_waits_and_a_known_key_still_gets_in(alice: Person, tmp_path: Path) -> None:
    """The last one here: this address has failed too often then."""
    stranger = Person(alice.service, make_key(tmp_path / "guesser"), "alice")

    async def guess() -> str:
        try:
            async with stranger.connection():
                return "in"
        except asyncssh.Error as error:
            return str(error)

    async def guesses() -> list[str]:
        return await asyncio.gather(*(guess() for _ in range(FAILURES)))

    assert "in" not in asyncio.run(guesses())
    done = stranger.ssh("id")
    assert done.returncode == 255
    assert re.search(r"too many failed sign-ins; try again in \d+ s", done.stderr), done.stderr
    assert alice.ssh("id").stderr.startswith("Hi alice!")
    with alice.service.client("hermes_wrong") as client:  # the same count as for tokens
        assert client.get("/api/v1/runs").status_code == 429
