"""What `hermes gpus` shows, laid out for a terminal: machines, their GPUs, the queue."""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hermes.cli.act import day
from hermes.driver import DriverState, GpuState
from hermes.machines import Holder, Machine, Waiting
from hermes.units import show_size, show_span

_SHOWN = 5  # of the queue
_NO_RUNNER = "no runner has it: hermes up"


@dataclass(frozen=True)
class View:
    """Everything at one moment. `left`: how long (run, rank) will take, and whether `about` or `at most`."""

    machines: Sequence[Machine]
    waiting: Sequence[Waiting]
    total: int
    left: dict[tuple[int, int], tuple[float, str]]
    driver: DriverState


def lay_out(view: View) -> RenderableType:
    """Lines that hold without colours."""
    parts: list[RenderableType] = [_driver(view.driver)]
    if not view.machines:
        parts.append(Text("no runner shows a sign of life: hermes up"))
    parts += [_machine(machine) for machine in view.machines]
    table = Table("GPU", "MODEL", "MEMORY", "USE", "TEMP", "POWER", "HELD BY", box=None, pad_edge=False)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for cells in _rows(view):
        table.add_row(*map(Text, cells))
    if table.row_count:
        parts += [Text(), table]
    return Group(*parts, Text(), *_queue(view))


def _driver(driver: DriverState) -> Text:
    if not driver.version:
        return Text(driver.words)
    return Text(f"NVIDIA driver {driver.version}, up to CUDA {driver.cuda}")


def _machine(machine: Machine) -> Text:
    row = machine.row
    alive = "" if machine.is_alive else ", NO SIGN OF LIFE"
    held = f"{machine.cpus_held:g} of {row.cpus:g} CPUs held"
    return Text(f"{row.name}: {row.executor} executor, {len(row.gpus)} GPUs, {held}{alive}")


def _rows(view: View) -> list[tuple[str, ...]]:
    """First what runners have, then what only the driver knows of."""
    states = {state.uuid: state for state in view.driver.gpus if state.uuid}
    rows: list[tuple[str, ...]] = []
    for machine in view.machines:
        here = view.driver.version and machine.row.name == socket.gethostname()
        for gpu, holders in machine.gpus():
            state = states.pop(gpu["uuid"], None)
            held = _held(view, machine, gpu, holders, state)
            if here and state is None:
                held = f"does not answer: hermes doctor\n{held}"
            number = GpuState(index=gpu["index"], instance=gpu.get("instance")).number
            rows.append((number, gpu["model"], *_use(gpu["memory_bytes"], state), held))
    for state in states.values():
        rows.append((state.number, state.model, *_use(state.memory_bytes, state), _NO_RUNNER))
    shown = {row[0].partition(".")[0] for row in rows}
    silent = [each for each in view.driver.gpus if each.error and str(each.index) not in shown]
    rows += [(str(each.index), *"-----", f"does not answer ({each.error}): hermes doctor") for each in silent]
    return rows


def _use(memory_bytes: int, state: GpuState | None) -> tuple[str, str, str, str]:
    """Memory, use, temperature, power; `-` where the driver does not say."""
    if state is None:
        return show_size(memory_bytes), "-", "-", "-"
    used = "-" if state.used_bytes is None else show_size(state.used_bytes)
    return (
        f"{used} of {show_size(memory_bytes)}",
        "-" if state.percent is None else f"{state.percent:.0f} %",
        "-" if state.celsius is None else f"{state.celsius} °C",
        "-" if state.power_w is None else f"{state.power_w:.0f} W",
    )


def _held(
    view: View, machine: Machine, gpu: dict[str, Any], holders: Sequence[Holder], state: GpuState | None
) -> str:
    lines = [_holder(view, each) for each in holders]
    if away := machine.row.quarantine.get(gpu["uuid"]):
        lines.append(f"in quarantine since {day(away['since'])}: {away['reason']}")
        lines.append(f"→ hermes admin gpu release {gpu['uuid']}")
    elif not holders:
        pids = ", ".join(map(str, state.pids)) if state else ""
        lines.append(f"process {pids}, which is no run" if pids else "free")
    return "\n".join(lines)


def _holder(view: View, who: Holder) -> str:
    """`alice/pi run 57, for 12.3 s, about 2 m 05 s left`."""
    share = f"{show_size(who.gpu_bytes)}: " if who.gpu_bytes else ""
    rank = f" rank {who.rank}" if who.rank else ""
    words = f"{share}{who.name} run {who.run_id}{rank} of {who.user}, for {_since(who.since)}"
    if left := view.left.get((who.run_id, who.rank)):
        left_s, how = left
        words += f", {how} {show_span(max(round(left_s), 1))} left"
    return words


def _since(at: float) -> str:
    return show_span(max(round(time.time() - at), 1))


def _queue(view: View) -> list[Text]:
    if not view.total:
        return [Text("nobody waits")]
    lines = [Text(f"{view.total} wait{'s' if view.total == 1 else ''}")]
    for each in view.waiting[:_SHOWN]:
        words = f"  run {each.run_id} {each.name} of {each.user}, {each.wants}, since {_since(each.since)}"
        lines.append(Text(f"{words}: {each.why}"))
    if view.total > _SHOWN:
        lines.append(Text(f"  and {view.total - _SHOWN} more"))
    return lines
