"""The page of the appendices from studies that have run: docs/appendices.md and its pictures.

    python -m benchmarks.appendices [--studies runs]

For every study of `STUDIES` that lies in the folder under its own name (`scbig sweep tune/NAME.py --scale cpu
-o runs/NAME`), its section is written anew from what `scbig report` makes of it: named points, seeds, workers, axes,
and the paper's tables beside ours. Sections of studies that do not lie there stay as they are.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib import rc_context

from scbig_dist.report import style
from scbig_dist.report.document import Block, Document, Heading, Picture, Text
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.reading import read_study
from scbig_dist.report.study import study_document

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = ROOT / "docs" / "appendices.md", "appendices"
KEPT = {"Points", "Seeds", "Workers", "What the axes do", "Published beside ours"}
LEFT_OUT = {"cost", "learning_curves", "parallel"}  # times of trainings that shared the machine
BY_AXES = {"sensitivity", "loss_weights"}  # in the others points are named, and axes are only their columns
PIXELS_PER_INCH = 110


@dataclass(frozen=True)
class About:
    """A section's heading, what its cells are, and what to know before reading it."""

    title: str
    data: str = "semi-synthetic"
    note: str = ""


STUDIES = {
    "sensitivity": About(
        "Figure 6: modules K × inducing points M",
        note="One seed per cell: see the deviations over seeds further below before reading an order into them.",
    ),
    "ablation": About(
        "Tables 6 and 10: the ablations, one change at a time",
        note="One seed per point, two epochs of stage 1: see the deviations over seeds further below before reading an order into "
        "them. All vectors of genes and targets are stand-ins. Clusterings, encoders, priors and losses lie between 0.685 and 0.703 of "
        "pearson_delta; what moves the score is what the flow is told of targets (frozen vectors alone 0.570, learned ones alone 0.721), "
        "how they are pooled (attention 0.675), and whether tokens are (mean 0.674, attention 0.657, set transformer 0.615).",
    ),
    "loss_weights": About(
        "Table 6(d): weights of the alignment losses",
        note="Three weights as in the paper and five found by TPE, one seed each. A correlation weight of 1 costs 0.02 of "
        "pearson_delta and gains 0.04 of e_dist; the other seven are level.",
    ),
    "losses": About(
        "Tables 6(c) and 7: the alignment losses, scores and step time",
        note="On this CPU a step with a loss in every micro-batch takes 2.7 (correlation), 3.5 (pathways) and 3.5 (both) "
        "times as long as one without; the paper prints 0.99, 1.06 and 1.05 on a GPU. Both together cost no more than "
        "pathways alone: the solve that carries control cells along the flow is shared. The losses change scores by less "
        "than the interval over conditions.",
    ),
    "n_modules": About(
        "Table 8: an update of stage 1 against K",
        note="The shape agrees with the paper's: from 32 modules to a module per gene an update takes 18 times as long "
        "here, 13 times there.",
    ),
    "scaling": About(
        "Table 9: more genes",
        "simulated",
        "A simulated screen of 4,000 cells and 12,000 genes. Memory is that of the whole process, libraries included "
        "(about 0.4 GB before the first step), so it hardly grows at this width and these batches (64 and 256; 32 and 64 "
        "at 10,000 genes).",
    ),
    "pooling": About("Table 10: pooling", note="One seed per point."),
    "embeddings": About(
        "Figure 5 and table 6(e): vectors of genes and targets",
        "semi-synthetic; all vectors are stand-ins",
        "No pretrained vectors were at hand: every row is a stand-in, and neither figure 5 nor table 6(e) is answered by them.",
    ),
    "seeds": About(
        "Tables 11, 12 and 15: seeds",
        note="Three seeds, one epoch of stage 1: the four settings differ by less than the seeds move them.",
    ),
    "transfer": About(
        "Table 18: transfer between contexts",
        "a small sample of real cells (McFaline 2023, A172 to U87MG)",
        "Hardly anything transfers between these two lines: the noise ceiling of pearson_delta is 0.36, scBIG reaches "
        "0.13, Mean-shift and CellFlow 0.02; and Control has a lower MSE and e_dist than any of them.",
    ),
    "workers": About(
        "Workers: strong and weak scaling (not in the paper)",
        note="One machine with two cores, so one node and at most two workers; what they lose is the sum of gradients over "
        "loopback and the memory that the cores share. More workers and nodes were not measured.",
    ),
}
"""In the page's order."""


def section(name: str, study: Path, pictures: Path) -> str:
    """A study's section as Markdown; its pictures are saved."""
    about = STUDIES[name]
    document = Document(about.title)
    document.add(Heading(about.title), Text(f"tune/{name}.py --scale cpu. Data: {about.data}. CPU scale."))
    document.add(Text(about.note) if about.note else None)
    under = ""
    for block in study_document(read_study(study)).blocks:
        if isinstance(block, Heading):
            under = block.text
        elif under in KEPT:
            document.add(_kept(name, block, pictures))
    return to_markdown(document).split("\n\n", 1)[1].strip()  # without the title of the document


def _kept(name: str, block: Block, pictures: Path) -> Block | None:
    if isinstance(block, Picture):
        if block.name in LEFT_OUT or (block.name.startswith(("heat_map", "axis")) and name not in BY_AXES):
            return None
        with rc_context(style.RC):
            path = pictures / f"{name}_{block.name}.png"
            block.figure.savefig(path, dpi=PIXELS_PER_INCH, facecolor="white", bbox_inches="tight")
        return replace(block, name=f"{pictures.name}/{path.stem}")
    if isinstance(block, Text) and block.text.startswith("The paper's"):
        return Text(block.text.split(". Jiafa")[0] + ".")  # the page names its paper once
    return block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=Path, default=Path("runs"), help="The folder that the studies lie in.")
    options = parser.parse_args()
    before, *parts = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    sections = {part.split("\n", 1)[0]: f"## {part.strip()}" for part in parts}
    for name, about in STUDIES.items():
        if (options.studies / name / "trials.parquet").exists():
            sections[about.title] = section(name, options.studies / name, PAGE.parent / PICTURES)
            print(name)
    ordered = [sections[about.title] for about in STUDIES.values() if about.title in sections]
    PAGE.write_text("\n\n".join([before.strip(), *ordered]) + "\n")


if __name__ == "__main__":
    main()
