"""The door: every command, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys

import click
import typer

from scbig_dist.cli.evaluate import evaluate, predict
from scbig_dist.cli.report import report
from scbig_dist.cli.simulate import simulate
from scbig_dist.cli.store import app as store
from scbig_dist.cli.sweep import sweep
from scbig_dist.cli.train import train
from scbig_dist.errors import UserError

app = typer.Typer(
    name="scbig",
    help="Predict single-cell perturbation responses with scBIG: build a cell store, train, evaluate, sweep, report.",
    epilog="A first tour: 'make demo'. Every setting has one address, e.g. --set flow.lr=1e-4.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(simulate)
app.add_typer(store, name="store", help="Build and inspect cell stores.")
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(sweep)
app.command()(report)


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        code = _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        typer.echo(error.format_message())
        code = 0
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "scbig"
        code = _fail(f"{error.format_message()} See '{command} --help'.")
    except (KeyboardInterrupt, click.Abort):
        print("interrupted", file=sys.stderr)
        code = 130
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
