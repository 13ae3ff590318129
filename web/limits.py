"""The limits in force: what a run, a push and a user may have at most, by the settings and the machine."""

from hermes.manifest import RunPart
from hermes.plan import MAX_RANKS, Instance
from hermes.settings import Settings, variable
from web.account_answers import LimitAnswer
from web.guard import MAX_BODY_BYTES

_RUN = RunPart()
_END_OF_LOG_BYTES = 1 << 20


def limits(settings: Settings, here: Instance) -> list[LimitAnswer]:
    """What OpenWhisk publishes, and what it has not. A setting of 0: no bound."""
    return [*_of_runs(settings, here), *_of_users(settings), *_of_bytes(settings)]


def _of_runs(settings: Settings, here: Instance) -> list[LimitAnswer]:
    known = here.gpus is not None
    cpus, memory = (here.cpus or None, here.memory_bytes or None) if known else (None, None)
    gpus = float(len(here.gpus)) if here.gpus is not None else None
    return [
        _limit(
            "time", "how long a run may take", _RUN.timeout, settings.max_timeout, "s", "run", "max_timeout"
        ),
        _limit("memory", "memory of a rank", _RUN.memory, memory, "bytes", "rank", "memory"),
        _limit("cpus", "CPUs of a rank", _RUN.cpus, cpus, "CPUs", "rank", "cpus"),
        _limit("gpus", "GPUs of a rank", None, gpus, "GPUs", "rank"),
        _limit("ranks", "ranks of a run", 1, MAX_RANKS, "ranks", "run"),
        _limit(
            "disk", "what a build or a rank may write", settings.disk, settings.disk, "bytes", "rank", "disk"
        ),
    ]


def _of_users(settings: Settings) -> list[LimitAnswer]:
    return [
        _most(settings, "concurrent", "ranks that run at a time", "ranks", "user", "user_ranks"),
        _most(settings, "queued", "ranks that wait", "ranks", "user", "user_queued"),
        _most(settings, "runs_per_minute", "runs by the API and on pages", "runs", "user", "runs_per_minute"),
        _most(settings, "calls", "invocations that are waited for", "runs", "user", "user_calls"),
        _most(settings, "pushes_per_minute", "pushes", "pushes", "user", "push_rate"),
        _most(settings, "gpu_time", "GPU time in 24 hours", "s", "user", "user_gpu_time"),
        _most(settings, "streams", "live logs followed at a time", "streams", "user", "user_streams"),
    ]


def _of_bytes(settings: Settings) -> list[LimitAnswer]:
    log_bytes = settings.log_size + _END_OF_LOG_BYTES
    return [
        _limit("log", "kept of what a rank prints", log_bytes, log_bytes, "bytes", "rank", "log_size"),
        _most(settings, "code", "a push, compressed", "bytes", "push", "push_size"),
        _most(settings, "tree", "the files of a commit", "bytes", "commit", "tree_size"),
        _limit("parameters", "a JSON body or a form", None, MAX_BODY_BYTES, "bytes", "request"),
        _most(settings, "input", "stdin and files of an invocation", "bytes", "run", "input_size"),
        _most(settings, "input_files", "files of an invocation", "files", "run", "input_files"),
        _most(settings, "result", "kept of an invocation's stdout", "bytes", "rank", "result_size"),
        _most(settings, "artifacts", "files that a rank leaves, together", "bytes", "rank", "artifact_size"),
        _most(settings, "artifact_files", "files that a rank leaves", "files", "rank", "artifact_files"),
    ]


def _most(settings: Settings, name: str, words: str, unit: str, per: str, setting: str) -> LimitAnswer:
    return _limit(name, words, None, getattr(settings, setting), unit, per, setting)


def _limit(
    name: str, words: str, default: float | None, most: float | None, unit: str, per: str, setting: str = ""
) -> LimitAnswer:
    asked = variable(setting) if setting else None
    bound = None if setting and not most else most
    return LimitAnswer(name=name, words=words, default=default, most=bound, unit=unit, per=per, setting=asked)
