"""A commit's tree as a tar in a file: what builds begin with."""

import time
from pathlib import Path

from hermes.objects import open_objects
from hermes.paths import Paths
from hermes.settings import Settings
from hermes.tables import Build
from hermes.tree import TreeLimits, export_tar, list_tree


def export_commit(paths: Paths, settings: Settings, build: Build, target: Path) -> list[str]:
    """Blocks. Returns the paths of submodules, which are left out. Raises Refused and Unavailable."""
    limits = TreeLimits(settings.tree_files, settings.tree_size)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_objects(paths.repo(build.repo_id)) as objects:
        entries = list_tree(objects, build.commit_sha, limits)
        return export_tar(objects, entries, target, int(time.time()))
