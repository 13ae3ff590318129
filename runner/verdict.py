"""From how a box ended to what is said about it: our own intent first, then memory, signal, exit code."""

from dataclasses import dataclass

from hermes.attempt import Ending
from hermes.errors import Unavailable
from hermes.plan import Plan
from hermes.states import Event
from hermes.supervisor import Stop
from hermes.units import show_limit, show_size

_SIGNALS = {
    "SIGSEGV": "segmentation fault: a bad pointer or index",
    "SIGABRT": "aborted: a failed assertion or an uncaught exception",
    "SIGFPE": "arithmetic fault, for example an integer division by zero",
    "SIGILL": "illegal instruction: compiled for another processor?",
    "SIGBUS": "bus error",
    "SIGKILL": "killed",
    "SIGXFSZ": "wrote a file larger than its disk",
}


@dataclass(frozen=True)
class Verdict:
    """What a rank ends as, in words and numbers."""

    event: Event
    reason: str
    exit_code: int | None
    signal: str = ""


def judge(ending: Ending, plan: Plan, cancelled_by: str) -> Verdict:
    """Raises Unavailable when our own shutdown ended it: that is nobody's verdict."""
    code = ending.exit.code
    if ending.stop is Stop.SHUTDOWN:
        raise Unavailable("the service was stopped")
    if ending.stop is Stop.TIMEOUT:
        return Verdict(Event.TIME_OUT, f"ran longer than its limit of {show_limit(plan.timeout_s)}", None)
    if ending.stop is Stop.CANCEL:
        return Verdict(Event.CANCEL, f"cancelled by {cancelled_by}", None)
    name = ending.exit.signal_name
    if ending.exit.out_of_memory:
        limit = show_size(plan.memory_bytes)
        return Verdict(Event.FAIL, f"out of memory: its limit is {limit} (run.memory)", code or None, name)
    if ending.exit.overrun:
        return Verdict(Event.FAIL, ending.exit.overrun, code or None, name)
    if name:
        return Verdict(Event.FAIL, f"{name} ({_SIGNALS.get(name, 'signal')})", code, name)
    if code != 0:
        return Verdict(Event.FAIL, f"exit code {code}", code)
    return Verdict(Event.SUCCEED, "", 0)
