"""A batch script of Slurm that starts one Ray over its nodes, checked by its directives and its one command."""

from __future__ import annotations

import re
import shutil
import subprocess

Problem = tuple[bool, str, str]
NEEDED = ("nodes", "ntasks-per-node", "cpus-per-task", "time")


def slurm_problems(text: str) -> list[Problem]:
    """What is wrong with a script, as far as can be told without Slurm."""
    problems = [*_syntax(text)]
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:[= ](\S+))?", text, re.MULTILINE))
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).replace("\\\n", " ")
    for name in NEEDED:
        if name not in given:
            problems.append((True, f"no #SBATCH --{name}", "one Ray per node needs to know what it may use"))
    if given.get("ntasks-per-node", "1") != "1":
        problems.append(
            (True, f"--ntasks-per-node={given['ntasks-per-node']}", "1: a node has one Ray, which starts the workers")
        )
    if not any(name.startswith("gpus") or name == "gres" for name in given):
        problems.append((False, "no GPU is asked for", "#SBATCH --gpus-per-node=…"))
    if "exclusive" not in given:
        problems.append(
            (False, "nodes may be shared: 'ray symmetric-run' ends every Ray of yours on them", "#SBATCH --exclusive")
        )
    if first := re.search(r"^(?!#).*\S.*\n(?:.*\n)*?#SBATCH", text, re.MULTILINE):
        problems.append(
            (True, f"#SBATCH after '{first[0].splitlines()[0]}': Slurm does not read it", "put it above all commands")
        )
    run = re.search(r"ray symmetric-run (?P<options>.*?) -- (?P<command>.*)", code)
    if run is None:
        problems.append(
            (True, "no 'ray symmetric-run … -- COMMAND'", "it starts Ray on all nodes and the sweep on the first")
        )
    else:
        for option in ("--address", "--min-nodes"):
            if option not in run["options"]:
                problems.append(
                    (True, f"'ray symmetric-run' without {option}", "the sweep would start before its nodes have")
                )
        host = re.search(r"--dashboard-host[= ](\S+)", run["options"])
        if host and host[1] not in ("127.0.0.1", "localhost"):
            problems.append((True, f"the dashboard listens at {host[1]}", "--dashboard-host=127.0.0.1 and a tunnel"))
        if "--resume" not in code:
            problems.append(
                (False, "the script does not go on with a study", "add --resume where STUDY/study.yaml is there")
            )
    if not re.search(r"\bRAY_AUTH_MODE=token\b", code):
        problems.append((True, "no token: whoever reaches a node runs code there", "export RAY_AUTH_MODE=token"))
    return problems


def _syntax(text: str) -> list[Problem]:
    bash = shutil.which("bash")
    if bash is None:
        return []
    done = subprocess.run([bash, "-n"], input=text, capture_output=True, text=True)
    line = done.stderr.strip().splitlines()[:1]
    return [(True, f"bash: {line[0] if line else 'syntax error'}", "mend it")] if done.returncode else []
