"""Deploy keys: a pair for one repository elsewhere, which may read that one and nothing else."""

from dataclasses import dataclass, field

import asyncssh


@dataclass(frozen=True)
class DeployKey:
    """As OpenSSH writes them; the private half is kept in hermes.sealed alone."""

    public: str
    private: str = field(repr=False)


def make_deploy_key(comment: str) -> DeployKey:
    """A new ed25519 pair."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    public = key.export_public_key("openssh").decode().strip()
    return DeployKey(public, key.export_private_key("openssh").decode())


def is_same_key(one: str, other: str) -> bool:
    """Whatever is written behind them: forges keep, cut or replace the comment."""
    return one.split()[:2] == other.split()[:2]
