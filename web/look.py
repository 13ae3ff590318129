"""How rows look: the templates, their filters, and `static/` under an address that changes with it."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from hermes.gpu import gpu_number
from hermes.refs import shown_ref
from hermes.removals import words as removed
from hermes.room import Room
from hermes.settings import Settings
from hermes.states import TERMINAL, State
from hermes.units import show_limit, show_size, show_span
from web.metrics import show_number
from web.sources import source_url

_HERE = Path(__file__).parent
_YEAR_S = 31_536_000


def moment(at: float) -> datetime:
    """A row's time."""
    return datetime.fromtimestamp(at, UTC)


def iso(at: float) -> str:
    """For programs: `2026-11-21T02:28:11Z`."""
    return moment(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(at: float) -> str:
    """For people who want to know: `2026-11-21 02:28:11 UTC`."""
    return moment(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at: float) -> str:
    """For everybody else: `3 m ago`; a date after a month."""
    passed_s = max(0, round(time.time() - at))
    if passed_s < 5:
        return "just now"
    if passed_s >= 30 * 86400:
        return moment(at).strftime("%Y-%m-%d")
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    unit_s, unit = next(each for each in units if passed_s >= each[0])
    return f"{passed_s // unit_s} {unit} ago"


def ahead(at: float) -> str:
    """Of what is to come: `in 3 h`; what is due is `now`."""
    left_s = round(at - time.time())
    if left_s < 1:
        return "now"
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    unit_s, unit = next(each for each in units if left_s >= each[0])
    return f"in {left_s // unit_s} {unit}"


def gpu_use(use: Mapping[str, Any]) -> str:
    """`87 % · 2.0 GiB in use · 35 °C · 120 W · 1980 MHz`, without what its driver does not say."""
    memory_bytes = use.get("memory_bytes")
    parts = {
        "%": use.get("percent"),
        "in use": None if memory_bytes is None else show_size(memory_bytes),
        "°C": use.get("celsius"),
        "W": use.get("power_w"),
        "MHz": use.get("mhz"),
    }
    shown = {unit: value for unit, value in parts.items() if value is not None}
    return " · ".join(f"{v if isinstance(v, str) else format(v, '.0f')} {unit}" for unit, v in shown.items())


def state_words(state: str) -> str:
    """`timed_out` → `timed out`."""
    return state.replace("_", " ")


def without_state(words: str, state: str) -> str:
    """`succeeded in 2 s` beside a dot that says `succeeded` already: `in 2 s`."""
    return words.removeprefix(state_words(state)).removeprefix(":").strip()


def count(number: float) -> str:
    """`2`, `0.5`."""
    return f"{round(number, 2):g}"


class _Static(StaticFiles):
    """Files whose address holds their digest, so that they never need to be asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
        return response


@dataclass(frozen=True)
class Look:
    """Renders templates. `digest` changes with what all pages are made of."""

    environment: Environment
    static: Mount
    digest: str

    def page(self, request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """A whole page."""
        user = getattr(request.state, "user", None)
        text = self.environment.get_template(template).render(viewer=user, path=request.url.path, **values)
        return HTMLResponse(text, status)


def make_look(settings: Settings, room: Room) -> Look:
    """Read `static/` once."""
    files = sorted((_HERE / "static").iterdir())
    digest = _digest(files)
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": ago,
        "ahead": ahead,
        "exact": exact,
        "iso": iso,
        "words": state_words,
        "without_state": without_state,
        "count": count,
        "removed": removed,
        "sentence": lambda words: words[:1].upper() + words[1:],
        "gpu_number": gpu_number,
        "gpu_use": gpu_use,
        "size": show_size,
        "span": show_span,
        "figure": show_number,
        "limit": show_limit,
        "ref": shown_ref,
    }
    environment.globals |= {
        "static": f"/static/{digest}",
        "public_url": settings.public_url,
        "source_url": source_url,
        "disk_trouble": room.trouble,
        "is_over": lambda state: State(state) in TERMINAL,
    }
    mount = Mount(f"/static/{digest}", _Static(directory=_HERE / "static"))
    return Look(environment, mount, digest + _digest(sorted((_HERE / "templates").iterdir())))


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files))
    return whole.hexdigest()[:12]
