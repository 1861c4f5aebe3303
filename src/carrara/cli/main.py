"""`carrara`: puts the nouns together, and turns errors into a sentence and an exit code."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Sequence

import typer
from typer.models import CommandInfo

from carrara import __version__
from carrara.cli import (
    access,
    bench,
    cluster,
    dataset,
    definitions,
    demo,
    deploy,
    doctor,
    endpoint,
    feature,
    forecast,
    gc,
    golden,
    launch,
    lineage,
    model,
    monitoring,
    run as run_commands,
    scheduler,
    serve,
    ui,
)
from carrara.cli.context import JsonOption
from carrara.cli.output import print_json, say
from carrara.core.errors import CarraraError
from carrara.core.processes import Stopped

app = typer.Typer(
    help="From raw tables to monitored predictions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("init")(definitions.init)
app.command("plan")(definitions.plan)
app.command("apply")(definitions.apply)
app.add_typer(dataset.app, name="dataset")
app.add_typer(feature.app, name="feature")
app.command("scheduler")(scheduler.scheduler)
app.command("train")(model.train)
app.command("launch", context_settings={"ignore_unknown_options": True})(launch.launch)
app.add_typer(cluster.app, name="cluster")
app.add_typer(model.app, name="model")
app.add_typer(run_commands.app, name="run")
app.command("gc")(gc.gc)
app.command("lineage")(lineage.lineage)
app.command("deploy")(deploy.deploy)
app.command("rollback")(deploy.rollback)
app.command("replay")(endpoint.replay)
app.add_typer(endpoint.app, name="endpoint")
app.command("serve", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(serve.serve)
app.command("bench")(bench.bench)
app.add_typer(golden.app, name="golden")
app.command("ui")(ui.ui)
app.command("predict")(endpoint.predict)
app.command("forecast")(forecast.forecast)
app.add_typer(monitoring.app, name="monitor")
app.add_typer(access.token_app, name="token")
app.add_typer(access.audit_app, name="audit")
app.command("doctor")(doctor.doctor)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    print_json({"version": __version__}) if as_json else say(__version__)


@app.callback()
def options(traceback: bool = typer.Option(False, "--traceback", help="Show where an error was raised.")) -> None:
    """Options of every command."""
    # `run` reads it from the command line: an error in the options themselves needs it too.


def asked(words: Sequence[str]) -> typer.Typer:
    """The application with what a command line begins with alone, where it is there: to build a hundred commands takes
    longer than most of them run."""
    first = words[0] if words else ""
    commands = [one for one in app.registered_commands if first and first in (one.name, _function(one))]
    groups = [one for one in app.registered_groups if first and first == one.name]
    if not commands and not groups:
        return app
    made = copy.copy(app)
    made.registered_commands, made.registered_groups = commands, groups
    return made


def _function(command: CommandInfo) -> str:
    """The name of a command that has no other."""
    return "" if command.name else str(getattr(command.callback, "__name__", ""))


def run() -> None:
    """The console script: exit codes 0 ok, 1 failed, 2 usage, 3 a check or gate failed."""
    show = "--traceback" in sys.argv or bool(os.environ.get("CARRARA_TRACEBACK"))
    sys.argv = [sys.argv[0], *(argument for argument in sys.argv[1:] if argument != "--traceback")]
    try:
        asked(sys.argv[1:])()
    except CarraraError as error:
        if show:
            raise
        for line in [f"error: {error}", *(f"  {note}" for note in getattr(error, "__notes__", ()))]:
            print(line, file=sys.stderr)
        sys.exit(error.exit_code)
    except Stopped:
        print("stopped; carrara run resume goes on with it", file=sys.stderr)
        sys.exit(128 + 15)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
