"""One training several times over, the runs alike but for `train.seed`: DIR/seed-0, DIR/seed-1, …

`DIR/seeds.json` lists the seeds; their artefacts lie together in `DIR/artifacts`, shared where equal.
"""

from __future__ import annotations

import json
from pathlib import Path

from scbig_dist.artifacts import write_text
from scbig_dist.config import Config
from scbig_dist.errors import UserError
from scbig_dist.settings import with_values

FILE = "seeds.json"


def seed_run(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}"


def seed_runs(folder: Path) -> list[Path]:
    """The runs of a directory of seeds, whether they have begun or not; empty for every other directory."""
    if not (folder / FILE).is_file():
        return []
    return [seed_run(folder, seed) for seed in json.loads((folder / FILE).read_text())["seeds"]]


def kept_config(folder: Path) -> Path:
    """The config of a directory of seeds that has begun: its first run's."""
    runs = seed_runs(folder)
    if not runs or not (runs[0] / "config.yaml").is_file():
        raise UserError(
            f"--resume: {folder} holds no seeds that have begun; start them with --seeds and without --resume"
        )
    return runs[0] / "config.yaml"


def claim_seeds(folder: Path, config: Config, n_seeds: int | None, resume: bool) -> list[tuple[Path, Config]]:
    """Write down the seeds, `train.seed` and those after it; each with its run and its config.

    A directory that holds something else is refused, and so are seeds in it without `resume`.
    Resumed, the directory's own seeds are gone on with; a larger `n_seeds` adds further ones.
    """
    first = config.train.seed
    if resume:
        kept = json.loads((folder / FILE).read_text())["seeds"] if (folder / FILE).is_file() else []
        wanted = list(range(first, first + (n_seeds or len(kept))))
        if wanted[: len(kept)] != kept:
            raise UserError(
                f"--resume: {folder} has the seeds {kept[0]} to {kept[-1]}, asked for are {wanted[0]} to {wanted[-1]}; "
                "leave --seeds out to go on with them, or name more"
            )
    else:
        # A mistake found before the first step leaves no run behind, but the list of seeds.
        if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - {FILE, "artifacts"}):
            what = "holds seeds; go on with them by --resume" if (folder / FILE).is_file() else "is not empty"
            raise UserError(f"{folder}: {what}, or name another directory with -o")
        assert n_seeds is not None
        wanted = list(range(first, first + n_seeds))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, json.dumps({"seeds": wanted}))
    return [(seed_run(folder, seed), with_values(config, {"train.seed": seed})) for seed in wanted]
