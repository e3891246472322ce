"""`scbig submit`, `status`, `stop`: sweeps that a cluster runs without this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from scbig_dist.cli.sweep import sweep
from scbig_dist.errors import UserError

if TYPE_CHECKING:
    from scbig_dist.cluster.jobs import Job, Jobs

ADDRESS = typer.Option(
    help="The dashboard of the cluster, http://HOST:8265 (default: this machine's, or a tunnel's end)."
)
WHICH = typer.Argument(help="ADDRESS/JOB as submit printed it, or a job's id, or an address.")
LAST_LINES = 20


def _sweep_values(words: list[str]) -> dict[str, Any]:
    """The words as `scbig sweep` reads them; what it does not know is a usage error."""
    app = typer.Typer()
    app.command()(sweep)
    return typer.main.get_command(app).make_context("scbig submit", list(words)).params


def _checked(words: list[str]) -> list[str]:
    _sweep_values(words)
    return words


def submit(
    words: Annotated[
        list[str],
        typer.Argument(metavar="STUDY [OPTIONS OF SWEEP]", help="What follows 'scbig sweep'.", callback=_checked),
    ],
    address: Annotated[str | None, ADDRESS] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the output.")] = False,
) -> None:
    """Run a sweep on a cluster as a Ray job: this directory is uploaded, the output followed.

    The job outlives this machine: Ctrl-C, a closed laptop or a lost connection only end the
    following. .git, .venv, runs, stores, data and what .gitignore names are not uploaded.

    Example: scbig submit tune/scaling.py --store /mnt/shared/stores/norman -o /mnt/shared/runs/scaling
    """
    values = _sweep_values(words)
    if values["address"] is not None:
        raise UserError(f"--address {values['address']}: given twice; once, for the cluster that the job goes to")
    from scbig_dist.cluster.jobs import Jobs, check_words

    check_words(values)
    jobs = Jobs(address)
    job = jobs.submit(Path.cwd(), ["sweep", *words, "--address", "auto"])
    handle = f"{jobs.url}/{job}"
    _say(f"job: {handle}")
    _say(f"come back with: scbig status {handle} --follow; end it with: scbig stop {handle}")
    if not detach:
        _follow(jobs, job)


def status(
    which: Annotated[str | None, WHICH] = None,
    address: Annotated[str | None, ADDRESS] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show the output until the job has ended.")] = False,
) -> None:
    """The sweeps that were submitted to a cluster, or one of them with the end of its output."""
    from scbig_dist.cluster.jobs import Jobs, split_handle

    place, job = split_handle(which, address)
    jobs = Jobs(place)
    if job is None:
        if follow:
            raise UserError("--follow: of which job? scbig status lists them")
        _show(jobs.all(), jobs.url)
        return
    found = jobs.get(job)
    if follow:
        _follow(jobs, job)
        return
    _show([found], jobs.url)
    for line in jobs.log(job).splitlines()[-LAST_LINES:]:
        print(line)


def stop(which: Annotated[str, WHICH], address: Annotated[str | None, ADDRESS] = None) -> None:
    """End a submitted sweep as Ctrl-C would: its trials keep their checkpoints, --resume goes on."""
    from scbig_dist.cluster.jobs import Jobs, split_handle

    place, job = split_handle(which, address)
    if job is None:
        raise UserError(f"{which}: an address, not a job; 'scbig status {which}' lists what runs there")
    jobs = Jobs(place)
    found = jobs.stop(job)
    _say(f"{job}: {found.state}")
    if not found.over:
        raise typer.Exit(1)


def _follow(jobs: Jobs, job: str) -> None:
    """Print until the end; the exit code is the sweep's."""
    handle = f"{jobs.url}/{job}"
    try:
        for text in jobs.follow(job):
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        _say(f"no longer following; the job goes on. scbig status {handle} --follow; scbig stop {handle}")
        return
    except ConnectionError as error:
        _say(f"{error}; the job goes on. scbig status {handle} --follow")
        raise typer.Exit(1) from None
    found = jobs.get(job)
    _say(f"{handle}: {found.state}")
    if found.state != "succeeded":
        raise typer.Exit(found.exit_code or 1)


def _show(found: list[Job], url: str) -> None:
    if not found:
        _say(f"no sweep was submitted to {url}")
        return
    table = Table("job", "state", "began", "took", "scbig", pad_edge=False)
    for job in found:
        took = "" if job.began is None else _took((job.ended or time.time()) - job.began)
        began = "" if job.began is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(job.began))
        state = job.state if job.exit_code in (None, 0) else f"{job.state}, exit code {job.exit_code}"
        table.add_row(job.id, state, began, took, job.words)
    Console(markup=False, highlight=False).print(table)


def _took(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:.0f} min"
        if seconds >= 60
        else f"{seconds:.0f} s"
    )


def _say(line: str) -> None:
    Console(markup=False, stderr=True, soft_wrap=True, highlight=False).print(line)
