"""What a cell store is: a directory of Arrow shards and the manifest that describes them.

    STORE/manifest.json           the record below, as JSON
    STORE/manifest.json.sha256    its checksum, in the form that `sha256sum -c` reads
    STORE/cells-00000.arrow …     one uncompressed Arrow IPC file per shard, one record batch each

Columns of a shard, one row per cell: `genes` (large_list<uint16>, store columns in rising
order), `counts` (large_list<uint16 or uint32>), `condition`, `batch` (int32 codes into the
manifest's vocabularies, -1 for none), `total` (float64, library size), `cell` (name).
The shards of one build, or of one append, are a segment, its cells sorted by condition: by
(context, perturbation, dose) in the first, and new conditions behind those that were there.
A condition is a range of cells in each segment that has it. Genes are ordered: perturbed
genes by name, then the others by HVG rank, so that every smaller panel is a prefix.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from scbig_dist.conditions import Condition
from scbig_dist.config_data import PanelConfig, QCConfig, SourceConfig

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
CHECKSUM = "manifest.json.sha256"
MAX_GENES = 2**16
ONE_CONTEXT = "all"  # the context of every cell where data.context is null


CountType = Literal["uint16", "uint32"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Source(Record):
    path: str
    sha256: str
    bytes: int
    matrix: str
    """Where the counts lay in the file: `X`, `layers/…`, `raw/X`."""
    n_cells: int
    n_genes: int
    labels: str | None
    """The table of cells beside the file, where they are not in it."""
    labels_sha256: str | None


class ConditionEntry(Record):
    context: str
    perturbation: str
    dose: float | None
    n_cells: int

    @property
    def condition(self) -> Condition:
        return Condition(self.context, self.perturbation, self.dose)


class Dropped(Record):
    cells_unlabelled: int
    """No condition, context or dose."""
    cells_below_min_genes: int
    cells_in_small_conditions: int
    cells_without_control: int
    """In a context that keeps no control cells."""
    small_conditions: dict[str, int]
    """Condition name and its cells, too few for `qc.min_cells_per_condition`."""
    contexts_without_control: dict[str, int]
    genes_below_min_cells: int
    genes_outside_panel: int


class Targets(Record):
    n_found: int
    absent: dict[str, int]
    """Targets that are no gene of the file, and the conditions that name them."""
    below_min_cells: list[str]
    """Perturbed genes that stay in the panel although `qc.min_cells` would drop them."""
    outside_panel: dict[str, int]
    """Targets of appended cells that are genes, but none of the panel's, and the conditions that name them."""


class Segment(Record):
    """Cells that were written together, sorted by condition."""

    n_shards: int
    runs: list[tuple[int, int]]
    """Condition (its place in `conditions`) and cells, in store order."""


class Shard(Record):
    file: str
    n_cells: int
    n_entries: int
    bytes: int
    sha256: str


class Manifest(Record):
    schema_version: int
    created_by: str
    sources: list[Source]
    """In the order in which they were read; of an append behind those that were there."""
    data_label: Literal["semi-synthetic", "simulated"] | None
    """What the sources say of their cells; null: real, or they do not say."""
    data: SourceConfig
    qc: QCConfig
    panel: PanelConfig
    n_cells: int
    n_entries: int
    """Non-zero counts in the store."""
    median_total: float
    """Median library size over all cells."""
    count_type: CountType
    hvg_method: str
    genes: list[str]
    """Store order."""
    n_targets: int
    """Perturbed genes, which lead the order."""
    hvg_ranks: list[int | None]
    """Place of each gene among `n_ranked` genes, 0 the most variable; null: below `qc.min_cells`."""
    n_ranked: int
    n_hvg: int
    """HVGs in the store: the first `n_hvg` of the ranking, perturbed or not."""
    other_genes: list[str]
    """Genes of the sources that are not in the panel; they count in library sizes and QC."""
    contexts: list[str]
    perturbations: list[str]
    batches: list[str]
    conditions: list[ConditionEntry]
    segments: list[Segment]
    targets: Targets
    dropped: Dropped
    notes: list[str]
    """What the user should know, one line each."""
    shards: list[Shard]
