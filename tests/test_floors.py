"""A file imports from lower floors or its own folder (docs/architecture.md); files stay short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "scbig_dist"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 350

# Room → floor. Rooms of floor 1 are independent of each other; on the other floors files see their own room and below.
FLOORS = {
    "config": 0, "config_data": 0, "settings": 0, "conditions": 0, "errors": 0, "new_file": 0, "half_steps": 0,
    "store": 1, "screen": 1, "nn": 1, "flow": 1, "losses": 1, "grc": 1, "grc_audit": 1, "metrics": 1,
    "models": 2,
    "train": 3, "artifacts": 3, "evaluate": 3, "interpret": 3,
    "cluster": 4,
    "report": 5, "dashboard": 5,
    "cli": 6, "__init__": 6, "__main__": 6,
}  # fmt: skip
INDEPENDENT = {"store", "screen", "nn", "flow", "losses", "grc", "grc_audit", "metrics"}
# Floors 0, 3 and 5 each work as one: config names errors, train writes artifacts, evaluate loads runs, the dashboard
# reads with the report's words and tables.
TOGETHER = [
    {"config", "config_data", "settings", "conditions", "errors", "new_file"},
    {"train", "artifacts", "evaluate", "interpret"},
    {"report", "dashboard"},
    {"cli", "__init__", "__main__"},
]
FILE_READERS = {"pyarrow", "anndata", "h5py", "scanpy", "safetensors"}


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Every dotted name that a file imports, functions and type-checking blocks included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, from scbig_dist.…"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(names: set[str]) -> set[str]:
    """The rooms of ours among imported names."""
    return {n.split(".")[1] for n in names if n.startswith("scbig_dist.") and n.split(".")[1] in FLOORS}


def allowed(own: str, other: str) -> bool:
    if own == other or any({own, other} <= group for group in TOGETHER):
        return True
    return FLOORS[other] < FLOORS[own]


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path):
    own = room(path)
    wrong = {other for other in rooms_of(imports(ast.parse(path.read_text()))) if not allowed(own, other)}
    assert not wrong, f"{own} (floor {FLOORS[own]}) imports from {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path: Path):
    own = room(path)
    libraries = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))}
    if own != "cluster":
        assert not libraries & {"ray", "optuna"}, "Ray and Optuna belong to cluster/"
    if own in {"nn", "flow", "metrics", "losses"}:
        assert not libraries & FILE_READERS, f"{own} knows arrays and no files"
    if own in {"report", "store", "screen", "metrics"}:
        assert "torch" not in libraries or own in {"screen"}, f"{own} needs no torch"
    if own == "dashboard":
        assert not libraries & {"torch", "safetensors"}, "the dashboard reads results, never a model"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short(path: Path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_the_rule_catches_a_wrong_import():
    assert not allowed("nn", "store") and not allowed("train", "cluster") and not allowed("report", "cli")
    assert allowed("cluster", "train") and allowed("store", "config") and allowed("cli", "report")
    assert rooms_of(imports(ast.parse("def f():\n    from scbig_dist.cluster.tune import run_sweep"))) == {"cluster"}
