"""From rows and counts to metrics: names, labels and words, as Prometheus wants them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from hermes.cause import VERBS
from hermes.counting import BUCKETS, Counts
from hermes.leases import CAUSES
from hermes.states import TERMINAL, State
from web.gauges import Gauges, GpuGauge, Sign

Values = Iterable[tuple[tuple[str, ...], float]]


class _Counter(NamedTuple):
    name: str
    words: str
    labels: dict[str, Collection[str]]  # with the values that we know of


_ENDS = TERMINAL - {State.BUILT}
_COUNTERS = {
    "pushes": _Counter("hermes_pushes", "Pushes whose end is known.", {"state": ("applied", "abandoned")}),
    "asked": _Counter("hermes_runs_asked", "Runs that entered the queue.", {"trigger": VERBS}),
    "runs": _Counter("hermes_runs", "Runs that ended.", {"trigger": VERBS, "state": _ENDS}),
    "builds": _Counter("hermes_builds", "Builds that ended.", {"state": TERMINAL - {State.SUCCEEDED}}),
    "ranks": _Counter("hermes_ranks", "Ranks that ended.", {"state": _ENDS}),
    "interrupted": _Counter(
        "hermes_attempts_interrupted",
        "Attempts that ended before their end: lease lost (silent, killed), a fault, a stop, a retry.",
        {"kind": ("build", "rank"), "cause": CAUSES},
    ),
}
_DURATIONS = {
    "build_wait": ("hermes_build_wait_seconds", "From the push to the builder."),
    "build_run": ("hermes_build_seconds", "What a build took."),
    "rank_wait": ("hermes_rank_wait_seconds", "From when a rank could run to its runner."),
    "rank_start": ("hermes_rank_start_seconds", "From the runner to the first instruction of the program."),
    "rank_run": ("hermes_rank_run_seconds", "What a program took."),
}


def counters(counts: Counts) -> Iterator[Metric]:
    """All that happened so far. What never did is 0 and not left out: of a series that begins with 1 nobody
    sees a rise (https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics)."""
    for key, (name, words, labels) in _COUNTERS.items():
        family = CounterMetricFamily(name, words, labels=tuple(labels))
        totals = dict.fromkeys(product(*labels.values()), 0) | counts.totals.get(key, {})
        for values, count in sorted(totals.items()):
            family.add_metric(values, count)
        yield family
    for key, (name, words) in _DURATIONS.items():
        row = counts.durations.get(key) or [0.0] * (len(BUCKETS) + 2)
        histogram = HistogramMetricFamily(name, words)
        histogram.add_metric([], _cumulative(row), row[-1])
        yield histogram


def _cumulative(row: list[float]) -> list[tuple[str, float]]:
    total, found = 0.0, []
    for limit, count in zip((*map(str, BUCKETS), "+Inf"), row[:-1], strict=True):
        total += count
        found.append((limit, total))
    return found


def of_rows(seen: Gauges) -> Iterator[Metric]:
    """What the database says of this moment."""
    for kind in ("build", "rank"):
        states = seen.under_way[kind].items()
        yield _gauges(
            f"hermes_{kind}s_under_way", f"{kind.capitalize()}s that wait or are at work.", ("state",),
            (((str(state),), count) for state, count in states),
        )  # fmt: skip
    yield _gauges(
        "hermes_oldest_waiting_seconds", "How long the first of those that wait has waited.", ("kind",),
        (((kind,), wait_s) for kind, wait_s in seen.waits_s.items()),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "hermes_pushes_half", "Pushes that were received and are not applied yet.", seen.half_pushes
    )
    yield GaugeMetricFamily(
        "hermes_callbacks_waiting", "Callbacks that nobody has taken yet.", seen.callbacks
    )
    yield _gauges(
        "hermes_schedules", "Schedules of all repositories.", ("state",),
        (((state,), count) for state, count in seen.schedules.items()),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "hermes_schedule_late_seconds",
        "How long ago a schedule was due that nobody has fired.",
        seen.schedule_late_s,
    )
    yield from _of_gpus(seen.gpus)
    yield from _of_processes(seen.at, seen.processes)


def _of_gpus(gpus: list[GpuGauge]) -> Iterator[Metric]:
    by_state = {state: sum(gpu.state == state for gpu in gpus) for state in ("free", "held", "quarantined")}
    yield _gauges("hermes_gpus", "GPUs of all runners.", ("state",), (((k,), n) for k, n in by_state.items()))
    labels = ("runner", "gpu", "model")

    def each(name: str, words: str, key: str, factor: float = 1.0) -> Metric:
        known = ((gpu, gpu.use.get(key)) for gpu in gpus)
        values = (((g.runner, g.uuid, g.model), use * factor) for g, use in known if use is not None)
        return _gauges(f"hermes_gpu_{name}", words, labels, values)

    yield each("utilization_ratio", "Share of time in which a kernel ran.", "percent", 0.01)
    yield each("memory_used_bytes", "Memory that is taken.", "memory_bytes")
    yield each("power_watts", "Power.", "power_w")
    yield each("temperature_celsius", "Temperature.", "celsius")
    memory = (((gpu.runner, gpu.uuid, gpu.model), float(gpu.memory_bytes)) for gpu in gpus)
    yield _gauges("hermes_gpu_memory_bytes", "Memory that there is.", labels, memory)


def _of_processes(now: float, signs: list[Sign]) -> Iterator[Metric]:
    labels = ("process", "host")
    who = [((sign.name, sign.host), sign) for sign in signs]
    yield _gauges(
        "hermes_process_last_seen_timestamp_seconds", "When a builder or a runner showed itself.", labels,
        ((key, now - sign.age_s) for key, sign in who),
    )  # fmt: skip
    yield _gauges(
        "hermes_process_memory_bytes", "Resident memory of a builder or a runner.", labels,
        ((key, sign.memory_bytes) for key, sign in who if sign.is_alive),
    )  # fmt: skip
    yield _gauges(
        "hermes_executor_answers", "Whether the executor answered a builder or a runner.", labels,
        ((key, float(not sign.trouble)) for key, sign in who if sign.is_alive),
    )  # fmt: skip
    missed = CounterMetricFamily(
        "hermes_doorbell_missed", "Work that waited and was found by looking: nobody had rung.", labels=labels
    )
    for key, sign in who:
        missed.add_metric(key, sign.missed_rings)
    yield missed


def of_process(values: Mapping[str, tuple[str, float]]) -> Iterator[Metric]:
    """Gauges without labels: {name: (words, value)}."""
    for name, (words, value) in values.items():
        yield GaugeMetricFamily(name, words, value)


def of_folders(bytes_of: Mapping[str, int]) -> Metric:
    """What the folders of the data directory take."""
    values = (((name,), float(size_bytes)) for name, size_bytes in bytes_of.items())
    return _gauges(
        "hermes_data_bytes", "What a folder of HERMES_DATA takes of the disk.", ("folder",), values
    )


def of_streams(open_now: Mapping[str, int]) -> Metric:
    """Live logs."""
    values = (((who,), float(count)) for who, count in open_now.items())
    return _gauges("hermes_streams_open", "Live logs that are followed now.", ("who",), values)


def _gauges(name: str, words: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family
