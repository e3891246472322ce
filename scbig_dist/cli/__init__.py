"""The door: every command, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from scbig_dist.cli.artifacts import artifacts
from scbig_dist.cli.compare import compare
from scbig_dist.cli.dashboard import dashboard
from scbig_dist.cli.doctor import doctor
from scbig_dist.cli.evaluate import evaluate, predict
from scbig_dist.cli.interpret import interpret
from scbig_dist.cli.jobs import status, stop, submit
from scbig_dist.cli.modules import modules
from scbig_dist.cli.report import report
from scbig_dist.cli.scale import scale
from scbig_dist.cli.simulate import simulate
from scbig_dist.cli.split import split
from scbig_dist.cli.store import app as store
from scbig_dist.cli.sweep import sweep
from scbig_dist.cli.train import train
from scbig_dist.errors import UserError

app = typer.Typer(
    name="scbig",
    help="Predict single-cell perturbation responses with scBIG: build a cell store, train, evaluate, sweep, report.",
    epilog="A first tour: 'make demo'. Every setting has one address, e.g. --set flow.lr=1e-4.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"scbig {version('scbig-dist')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None: ...


app.command()(simulate)
app.add_typer(store, name="store", help="Build and inspect cell stores.")
app.command()(split)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(compare)
app.command()(modules)
app.command()(interpret)
app.command()(sweep)
app.command()(artifacts)
app.command()(scale)
app.command()(report)
app.command()(dashboard)
app.command()(doctor)
app.command(context_settings={"ignore_unknown_options": True})(submit)
app.command()(status)
app.command()(stop)


def _flowing(text: str | None) -> str:
    """A docstring with a line per paragraph, for the terminal to wrap: typer breaks lines where the source does."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


for _command in (*app.registered_commands, *store.registered_commands):
    _command.help = _flowing(inspect.getdoc(_command.callback))

# typer carries a click of its own, whose exceptions it does not all export.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
INTERRUPTED = 130


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            print("interrupted", file=sys.stderr)
    except UserError as error:
        code = _fail(str(error))
    except USAGE_ERROR as error:
        command = error.ctx.command_path if error.ctx else "scbig"
        message = error.format_message().rstrip(".")  # empty where a group without a command has shown its help
        code = _fail(f"{message}; see '{command} --help'") if message else 2
    except typer.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has left (`scbig … | head`): nothing is wrong here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        code = _fail(f"{error.filename or 'writing'}: {error.strerror}; free some room or name another place")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2
