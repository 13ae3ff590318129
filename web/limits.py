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
        _limit(
            "concurrent", "ranks that run at a time", None, settings.user_ranks, "ranks", "user", "user_ranks"
        ),
        _limit("queued", "ranks that wait", None, settings.user_queued, "ranks", "user", "user_queued"),
        _limit(
            "runs_per_minute",
            "runs by the API and on pages",
            None,
            settings.runs_per_minute,
            "runs",
            "user",
            "runs_per_minute",
        ),
        _limit("pushes_per_minute", "pushes", None, settings.push_rate, "pushes", "user", "push_rate"),
        _limit(
            "gpu_time", "GPU time in 24 hours", None, settings.user_gpu_time, "s", "user", "user_gpu_time"
        ),
        _limit(
            "streams",
            "live logs that are followed at a time",
            None,
            settings.user_streams,
            "streams",
            "user",
            "user_streams",
        ),
    ]


def _of_bytes(settings: Settings) -> list[LimitAnswer]:
    log_bytes = settings.log_size + _END_OF_LOG_BYTES
    return [
        _limit("log", "kept of what a rank prints", log_bytes, log_bytes, "bytes", "rank", "log_size"),
        _limit("code", "a push, compressed", None, settings.push_size, "bytes", "push", "push_size"),
        _limit("tree", "the files of a commit", None, settings.tree_size, "bytes", "commit", "tree_size"),
        _limit("parameters", "a JSON body or a form", None, MAX_BODY_BYTES, "bytes", "request"),
        _limit(
            "artifacts",
            "files that a rank leaves, together",
            None,
            settings.artifact_size,
            "bytes",
            "rank",
            "artifact_size",
        ),
        _limit(
            "artifact_files",
            "files that a rank leaves",
            None,
            settings.artifact_files,
            "files",
            "rank",
            "artifact_files",
        ),
    ]


def _limit(
    name: str, words: str, default: float | None, most: float | None, unit: str, per: str, setting: str = ""
) -> LimitAnswer:
    asked = variable(setting) if setting else None
    bound = None if setting and not most else most
    return LimitAnswer(name=name, words=words, default=default, most=bound, unit=unit, per=per, setting=asked)
