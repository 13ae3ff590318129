"""What one user's program leaves in a GPU's memory, another user's program does not find."""

import re
import secrets
from dataclasses import dataclass

from tests.gpu.program import files
from tests.gpu.report import Report
from tests.service import Service

_LINE = r"residue: {}: (\d+) MiB of \d+ MiB on (\S+): (\d+) of (\d+) words are the key, (\d+) are not zero"


@dataclass(frozen=True)
class Found:
    """What a program counted."""

    mib: int
    device: str
    keys: int
    words: int
    not_zero: int


def found(what: str, output: str) -> Found:
    """From the line that says it."""
    match = re.search(_LINE.format(what), output)
    assert match, output
    mib, device, *counts = match.groups()
    return Found(int(mib), device, *map(int, counts))


def test_memory_holds_nothing_of_the_user_before(gpu_service: Service, report: Report) -> None:
    key, bob = secrets.token_hex(8), gpu_service.add_user("bob")
    alices = gpu_service.push(files("residue"), f"run.args=fill {key}", "check")
    assert alices.code == 0, alices.output
    filled, again = found("fill", alices.output), found("again", alices.output)
    assert filled.keys == filled.words > 0, "it counts what is there"
    bobs = gpu_service.push(
        files("residue"), f"run.args=look {key}", "check", repo="bob/looks", token=bob, user="bob"
    )
    assert bobs.code == 0, bobs.output
    looked = found("look", bobs.output)
    report.add("memory of the user before", filled_mib=filled.mib, looked_mib=looked.mib, keys=looked.keys)
    report.add("memory of the user before", not_zero=looked.not_zero, keys_in_the_same_program=again.keys)
    assert looked.device == filled.device and looked.mib >= 0.95 * filled.mib, "it looked where alice wrote"
    assert looked.keys == 0, (
        f"bob found {looked.keys * 8} bytes of what alice had written"
    )  # by chance: 6e-10
