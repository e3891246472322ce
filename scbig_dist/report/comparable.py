"""What stands between a number of the paper and ours beside the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scbig_dist.config import Config
from scbig_dist.report.printed import COSTS, INTERVAL, Printed
from scbig_dist.report.reading import RunFiles
from scbig_dist.report.wording import is_missing, number
from scbig_dist.settings import flatten

NEAR_GENES = 0.03  # 2,000 HVGs make the paper's 2,051 genes: perturbed genes come on top
SIZES = ("gcae.width", "gcae.n_blocks", "gcae.block", "flow.width")  # what a step costs; the defaults are the paper's


def why_absent(trial: Mapping[str, Any], metric: str) -> list[str]:
    """Why a trial that is there has no number."""
    if metric in COSTS:
        return ["not measured"]
    if any(str(k).startswith("test_") and not is_missing(v) for k, v in trial.items()):
        return ["this metric was not computed"]
    val = trial.get(f"val_{metric}")
    return ["test is scored for chosen trials only" + ("" if is_missing(val) else f" (validation: {number(val)})")]


def differences(
    trial: Mapping[str, Any], run: RunFiles | None, line: Printed, metric: str, table: str, book: Mapping[str, Any]
) -> list[str]:
    """What makes the two numbers differ beside the method; empty: comparable."""
    if run is None:
        return ["the trial's run is gone: its data and scale are unknown"]
    config = flatten(run.config)
    reasons = _panel(run, line, table, book)
    if metric in COSTS:
        return _of_cost(trial, run, line, metric, config) + reasons
    return _of_score(run, metric, table, book, config) + reasons


def _of_cost(
    trial: Mapping[str, Any], run: RunFiles, line: Printed, metric: str, config: Mapping[str, Any]
) -> list[str]:
    """Steps are timed on random cells: machine and sizes count, data and training do not."""
    reasons = ["hardware: " + run.hardware]
    if metric == "stage2_ms" and is_missing(trial.get(metric)):
        reasons.append("timed in training, beside whatever ran then")
    default = flatten(Config().model_dump())
    sizes = [
        f"{address} {config[address]} (the paper's scale: {default[address]})"
        for address in SIZES
        if address in config and config[address] != default[address] and _concerns(address, metric)
    ]
    batches = [
        f"{address} {number(config[address])}, published {number(printed)}"
        for address, printed in line.batches.items()
        if address in config and config[address] != printed and _concerns(address, metric)
    ]
    return reasons + [f"scale: {each}" for each in (*sizes, *batches)]


def _concerns(address: str, metric: str) -> bool:
    return address.startswith(("gcae.", "autoencoder.")) if metric.startswith("stage1") else True


def _panel(run: RunFiles, line: Printed, table: str, book: Mapping[str, Any]) -> list[str]:
    if "data" in book.get("screens", {}).get(table, {}):
        return []  # another screen, which is said; its genes are not printed
    genes = run.summary.get("n_genes")
    paper = line.settings.get("n_genes", book["splits"]["norman_additive"]["n_genes"])
    if genes is not None and abs(genes - paper) > NEAR_GENES * paper:
        return [f"scale: {number(genes)} genes, published {number(paper)}"]
    return []


def _of_score(run: RunFiles, metric: str, table: str, book: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    screen = book.get("screens", {}).get(table, {})
    genes, cells = run.summary.get("n_genes"), run.summary.get("n_train_cells")
    kind, reasons = config.get("split.kind"), []
    if (data := screen.get("data")) is not None:
        ours = f"{config.get('split.train_context')} to {config.get('split.test_context')}"
        reasons.append(f"data: {run.data_label}, {ours}; published {data}")
    elif not run.data_label.startswith("real"):
        reasons.append(f"data: {run.data_label}")
    elif genes is None or cells is None:
        reasons.append("data: not known to be the paper's")
    paper = book["splits"]["norman_additive"]["cells"][0]
    if data is None and cells is not None and abs(cells - paper) > 0.1 * paper:
        reasons.append(f"scale: {number(cells)} training cells, published {number(paper)}")
    if kind not in (None, screen.get("split", "additive")):
        reasons.append(f"split: {kind}, published {screen.get('split', 'additive')}")
    for address, printed in book.get("training", {}).items():
        value = config.get(address)
        if value is not None and value < 0.9 * printed:
            reasons.append(f"training: {address} {number(value)}, published {number(printed)}")
    if metric in INTERVAL:
        reasons.append(
            "method: ours resamples test conditions, one seed; the paper does not say what its interval is over"
        )
    return reasons
