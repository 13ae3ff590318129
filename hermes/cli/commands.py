"""The command `hermes`, with all that it can do."""

import difflib

import click

from hermes import __version__
from hermes.cli.lazy import LazyGroup
from hermes.cli.names import ANCESTORS, GONE, GROUPS, PLACES, START
from hermes.errors import UserError


class _Commands(LazyGroup):
    """Also those that the first Hermes had, under its names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in GROUPS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ANCESTORS:
            return self._walk(ctx, ANCESTORS[cmd_name])
        if cmd_name in GONE:
            return _gone(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            more = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(error.format_message() + more, ctx) from None

    def _walk(self, ctx: click.Context, words: tuple[str, ...]) -> click.Command | None:
        command = self.get_command(ctx, words[0])
        for word in words[1:]:
            assert isinstance(command, click.Group)
            command = command.get_command(ctx, word)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.list_commands(ctx))
        for title, names in GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name.ljust(width), command.get_short_help_str(formatter.width - width)))
            with formatter.section(title):
                formatter.write_dl(rows)


def _gone(name: str) -> click.Command:
    """Whatever it is given, it says what to do instead."""

    def callback(words: tuple[str, ...]) -> None:
        raise UserError(f"there is no {name} here", GONE[name])

    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    anything = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(name, anything, callback, params=[words], hidden=True)


@click.group(
    cls=_Commands,
    places=PLACES,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="hermes")
@click.pass_context
def hermes(context: click.Context) -> None:
    """git push gpu main: builds, runs on a GPU, and shows itself."""
    if context.invoked_subcommand is None:
        click.echo(START)
