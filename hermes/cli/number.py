"""The number of a run as people write it: `57`, `#57`, or the address of its page."""

import re
from typing import Any

import click

_FORMS = re.compile(r"#?(\d{1,15})|https?://\S+/runs/(\d{1,15})\b\S*")


class _Number(click.ParamType[int]):
    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _FORMS.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{str(value)[:80]!r} is not the number of a run (hermes executions list)", param, ctx)
        return int(match[1] or match[2])


RUN = _Number()
