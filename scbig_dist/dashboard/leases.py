"""Running trials that wait for an artefact which another one is making, as both say it beside the artefacts.

A maker's claim lies in `artifacts/.claims/`, a process's sign of life, rewritten every few seconds, in
`artifacts/.owners/` (artifacts/claims.py, artifacts/owners.py). Only what lies in the study is read:
of artefacts that are shared over several studies (`--artifacts`), nothing is known here.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from scbig_dist.dashboard.files import number, read_bytes, read_json, text
from scbig_dist.dashboard.study import Snapshot
from scbig_dist.report.wording import duration

FRESH_SECONDS = 60.0  # after this silence other trials take a maker for dead


def held_up(study: Snapshot, now: float) -> list[str]:
    """A sentence per trial that waits."""
    root = study.path / "artifacts"
    if root.is_symlink():
        return []
    signs = {name.removesuffix(".json"): read_json(root / ".owners" / name).value for name in _names(root / ".owners")}
    waits = {
        owner: text(sign.get("waits_for"))
        for owner, sign in signs.items()
        if sign.get("waits_for") and _age(sign, now) < FRESH_SECONDS
    }
    if not waits:
        return []
    makers = _makers(root / ".claims")
    lines = []
    for owner, name in sorted(waits.items(), key=lambda item: text(signs[item[0]].get("run"))):
        maker = signs.get(makers.get(name, ""), {})
        lines.append(
            f"{_who(study, signs[owner]).capitalize()} waits for the {name.partition('-')[0]} {_made_by(study, maker, now)}"
        )
    return lines


def _made_by(study: Snapshot, maker: dict[str, Any], now: float) -> str:
    if not maker:
        return "that nobody makes at this moment: it is about to take it over."
    silent = _age(maker, now)
    if silent < FRESH_SECONDS:
        return f"that {_who(study, maker)} is making: it is computed once."
    return (
        f"of {_who(study, maker)}, which has given no sign of life for {duration(silent)}: it is about to take it over."
    )


def _makers(folder: Path) -> dict[str, str]:
    """{artefact: id of whoever holds the claim to it}: that of the highest number."""
    found = {}
    for file in sorted(_names(folder)):
        try:
            found[file.rpartition(".")[0]] = read_bytes(folder / file, most=200).decode("utf-8", errors="replace")
        except OSError:  # given up since it was listed, or a link
            continue
    return found


def _names(folder: Path) -> list[str]:
    try:
        return [] if folder.is_symlink() else os.listdir(folder)
    except OSError:
        return []


def _age(sign: dict[str, Any], now: float) -> float:
    at = number(sign.get("at"))
    return float("inf") if at is None else now - at


def _who(study: Snapshot, sign: dict[str, Any]) -> str:
    """By the trial's name, which stands behind `trials/` in the path of its run."""
    parts = PurePath(text(sign.get("run"))).parts
    known = [part for before, part in pairwise(parts) if before == "trials" and part in study.trials]
    return f"trial {known[-1]}" if known else f"process {text(sign.get('pid')) or 'of another run'}"
