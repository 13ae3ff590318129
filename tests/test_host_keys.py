"""Where forges answer to SSH, and the host keys that come with us: what is pure of it."""

import pytest

from hermes.deploy_keys import is_same_key, make_deploy_key
from hermes.errors import UserError
from hermes.host_keys import fingerprints
from hermes.ssh_address import SshAddress, read_address, usual_address

#: As GitHub and GitLab publish them (hermes/known_hosts says where): ed25519, ecdsa, rsa.
GITHUB = [
    "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
    "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
    "SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
]
GITLAB = [
    "SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
    "SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
    "SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
]


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("git@github.com:22", GITHUB),
        ("git@ssh.github.com:443", GITHUB),
        ("git@gitlab.com:22", GITLAB),
        ("git@altssh.gitlab.com:443", GITLAB),
        ("git@github.com.evil.example:22", []),
        ("git@forge.example.org:22", []),
    ],
)
def test_the_published_ones_are_known_and_no_others(address: str, known: list[str]) -> None:
    assert fingerprints(read_address(address), "") == known


def test_what_was_kept_counts_alone() -> None:
    kept = make_deploy_key("any").public
    (one,) = fingerprints(read_address("github.com"), kept)
    assert one.startswith("SHA256:") and one not in GITHUB


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("forge.example.org", SshAddress("git", "forge.example.org", 22)),
        ("Forge.example.org:2222", SshAddress("git", "forge.example.org", 2222)),
        ("me@forge.example.org", SshAddress("me", "forge.example.org", 22)),
        ("git@forge.example.org:octo/pi.git", SshAddress("git", "forge.example.org", 22)),
        ("ssh://git@forge.example.org:2222/octo/pi.git", SshAddress("git", "forge.example.org", 2222)),
        ("git@[2001:db8::1]:2222", SshAddress("git", "2001:db8::1", 2222)),
    ],
)
def test_addresses(text: str, address: SshAddress) -> None:
    assert read_address(text) == address and read_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no host",
        "-oProxyCommand=id",
        "-x@host",
        "host:0",
        "host:70000",
        "[::g]",
        "git@",
        "http://host",
        "a\nb",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="is no address of an SSH server"):
        read_address(text)


def test_the_usual_address_is_the_same_server() -> None:
    assert str(usual_address("https://forge.example.org:8443/git")) == "git@forge.example.org:22"


def test_the_private_half_shows_nowhere() -> None:
    key = make_deploy_key("hermes:alice/pi")
    assert "PRIVATE" in key.private and "PRIVATE" not in repr(key) and key.public.endswith("hermes:alice/pi")
    assert is_same_key(key.public, " ".join(key.public.split()[:2]))
    assert not is_same_key(key.public, make_deploy_key("hermes:alice/pi").public)
