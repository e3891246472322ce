"""The commands of README.md and the docs exist, with the options they show."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scbig_dist.cli import app
from scbig_dist.settings import addresses, build_config, parse_set

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOT_COMMAND = typer.main.get_command(app)


def fenced_commands(page: Path) -> Iterator[str]:
    """Lines of ```bash and ```console fences that are commands; a trailing backslash continues."""
    for block in re.findall(r"```(?:bash|console)\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line and not line.startswith("#"):
                yield line


COMMANDS = [(page.name, line) for page in PAGES for line in fenced_commands(page)]
SCBIG = [line for _, line in COMMANDS if line.startswith("scbig")]
MAKE = [line for _, line in COMMANDS if "make" in line.split()]
INLINE = sorted({m for page in PAGES for m in re.findall(r"`(scbig [^`…]+|make [a-z-]+)`", page.read_text())})


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `scbig WORDS…` names, and what is left."""
    command: Any = ROOT_COMMAND
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command '{words[0]}'; there are {sorted(command.commands)}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_the_pages_show_commands():
    assert len(SCBIG) > 10 and "make demo" in MAKE and "make test" in MAKE


def test_the_tours_screen_can_be_divided_as_its_preset_asks(tmp_path, monkeypatch):
    """The tour's first lines on fewer cells and genes, up to the division that its trainings begin with."""
    monkeypatch.chdir(tmp_path)
    simulate, build = (
        next(line for line in SCBIG if line.startswith(f"scbig {name}")) for name in ("simulate", "store build")
    )
    divide = f"scbig split stores/screen --config {ROOT / 'configs' / 'cpu_small.yaml'}"
    for line in (f"{simulate} --cells 5000 --genes 300", build.replace("=200", "=0"), divide):
        ROOT_COMMAND(shlex.split(line)[1:], standalone_mode=False)


@pytest.mark.parametrize("line", SCBIG)
def test_scbig_command_parses(line: str):
    command, words = resolve(shlex.split(line, comments=True)[1:])
    if "--help" not in words:
        command.make_context(line, words, resilient_parsing=False)  # raises on an unknown or a missing option


@pytest.mark.parametrize(
    "line", ["scbig train --stores x", "scbig stores", "scbig report", "scbig store build a b --sett x=1"]
)
def test_a_wrong_command_is_found(line: str):
    with pytest.raises(Exception, match=r"(?i)no such option|no command|missing (argument|parameter)"):
        test_scbig_command_parses(line)


@pytest.mark.parametrize("line", SCBIG)
def test_settings_in_commands_are_real(line: str):
    words = shlex.split(line, comments=True)
    build_config(parse_set([b for a, b in pairwise(words) if a == "--set"]), line)


def test_files_in_commands_are_there():
    for word in {w for line in SCBIG for w in shlex.split(line)}:
        if word.startswith(("configs/", "tune/")):
            assert (ROOT / word).is_file(), word


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("line", MAKE)
def test_make_target_exists(line: str):
    words = line.split()
    assert set(words[words.index("make") + 1 :]) <= make_targets()


@pytest.mark.parametrize("text", INLINE)
def test_inline_command_exists(text: str):
    first, *words = text.split()
    if first == "make":
        assert words[0] in make_targets()
    else:
        resolve([w for w in words if w.islower()])


def every_command(command: Any = ROOT_COMMAND, *words: str) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from (
            every_command(inner, *words, name) if hasattr(inner, "commands") else [(" ".join([*words, name]), inner)]
        )


COMMAND = dict(every_command())


@pytest.mark.parametrize("name", COMMAND)
def test_help_breaks_no_sentence_and_names_no_type_of_pythons(name: str):
    assert len(COMMAND) > 15 and all("\n" not in paragraph for paragraph in COMMAND[name].help.split("\n\n"))
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"}).output
    assert COMMAND[name].help.split("\n\n")[0].split()[0] in shown
    assert not [line for line in shown.splitlines() if "--" in line and "list[" in line]


def test_makefile_calls_real_commands():
    lines = re.findall(r"^\t\$\(BIN\)/scbig (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        command, words = resolve(shlex.split(line.replace("$(PRIORS)", "--set priors.ppi=x").replace("$(DEMO)", "d")))
        command.make_context(line, words)


def test_settings_named_in_the_pages_are_real():
    known = set(addresses())
    sections = {a.split(".")[0] for a in known if "." in a}
    for page in PAGES:
        for word in re.findall(r"`([a-z]+\.[a-z_]+)(?:=[^`]*)?`", page.read_text()):
            if word.split(".")[0] in sections and not word.endswith((".py", ".md", ".yaml")):
                assert word in known, f"{page.name}: {word}"


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(
    "words", [["--help"], ["store", "--help"], ["train", "--help"], ["report", "--help"]], ids=" ".join
)
def test_help_runs(words: list[str]):
    code = "import sys; from scbig_dist.cli import main; sys.argv[0] = 'scbig'; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
