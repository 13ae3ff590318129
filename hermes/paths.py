"""Where things lie below the data directory. Names that users choose never become part of a path."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """All places on disk; the arguments are row ids, attempt numbers and digests only."""

    root: Path

    def repo(self, repo_id: int) -> Path:
        """The bare git repository."""
        return self.root / "repos" / f"{repo_id}.git"

    def log(self, kind: str, row_id: int, attempt: int) -> Path:
        """The log of one attempt of a build or a rank; its index lies beside it (`.idx`)."""
        return self.root / "logs" / kind / f"{row_id}.{attempt}.log"

    def result(self, rank_id: int, attempt: int) -> Path:
        """What one attempt of an invoked rank wrote to standard output."""
        return self.root / "results" / f"{rank_id}.{attempt}"

    @property
    def inputs(self) -> Path:
        """The files that invocations bring, each by a random token."""
        return self.root / "inputs"

    def input(self, token: str) -> Path:
        """One of them."""
        return self.inputs / token[:2] / token

    def image(self, build_id: int) -> Path:
        """The built tree of a build, a tar."""
        return self.root / "images" / f"{build_id}.tar"

    @property
    def artifacts(self) -> Path:
        """All of them, by the first two digits of their digests."""
        return self.root / "artifacts"

    def artifact(self, sha256: str) -> Path:
        """An artifact by its digest."""
        return self.artifacts / sha256[:2] / sha256

    @property
    def checkpoints(self) -> Path:
        """What ranks keep across their attempts, a folder for each run."""
        return self.root / "checkpoints"

    def checkpoint(self, run_id: int, rank: int) -> Path:
        """What a rank keeps across its attempts."""
        return self.checkpoints / str(run_id) / str(rank)

    @property
    def compiler_caches(self) -> Path:
        """Of all repositories."""
        return self.root / "ccache"

    def compiler_cache(self, repo_id: int) -> Path:
        """The compiler cache of a repo, a file system image or a directory."""
        return self.compiler_caches / str(repo_id)

    @property
    def spool(self) -> Path:
        """Temporary files, each named after the box that it belongs to."""
        return self.root / "spool"

    def spooled(self, box: str, what: str) -> Path:
        """A temporary file of one box; the sweep removes it with its box."""
        return self.spool / f"{box}.{what}"

    @property
    def boxes(self) -> Path:
        """The working directories of live builds and ranks, one each, by box name."""
        return self.root / "spool" / "boxes"

    @property
    def fetches(self) -> Path:
        """What is fetched from repositories elsewhere, until it is taken."""
        return self.root / "spool" / "fetches"

    @property
    def keeper(self) -> Path:
        """Where the keeper of what runs print listens (hermes.keeper)."""
        return self.root / "keeper.sock"

    @property
    def ssh_host_key(self) -> Path:
        """What clients know this server by, over SSH."""
        return self.root / "ssh_host_ed25519_key"

    @property
    def preview_key(self) -> Path:
        """What signs the addresses of previews (HERMES_ARTIFACT_ORIGIN)."""
        return self.root / "preview_key"

    @property
    def secret_key(self) -> Path:
        """What encrypts secrets, unless HERMES_SECRET_KEY_FILE names another file."""
        return self.root / "secret_key"

    @property
    def callback_key(self) -> Path:
        """What the secrets are made of that sign callbacks."""
        return self.root / "callback_key"

    @property
    def hold(self) -> Path:
        """Locked while a backup is taken (hermes.hold)."""
        return self.root / "backup.lock"

    @property
    def redis_socket(self) -> Path:
        """The private Redis that `hermes up` starts."""
        return self.root / "redis.sock"
