"""`scbig modules`: what is in the gene modules of a run or a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scbig_dist.settings import parse_set

N_ROWS = 12
SET = typer.Option("--set", metavar="ADDRESS=VALUE", help="A setting, e.g. --set grc.n_modules=16. Repeatable.")


def modules(
    place: Annotated[
        str,
        typer.Argument(metavar="STORE_OR_RUN", help="A run: its modules. A store: clustered now, from all its cells."),
    ],
    gmt: Annotated[
        Path | None, typer.Option(help="Gene sets (.gmt, .gmt.gz) to test the modules against (priors.pathways).")
    ] = None,
    ppi: Annotated[Path | None, typer.Option(help="Protein interactions (priors.ppi).")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML config whose GRC clusters a store, e.g. configs/cpu_small.yaml.")
    ] = None,
    set_: Annotated[list[str] | None, SET] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random partitions and of the cells drawn.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Default: RUN/modules, for a store a new one under runs/."),
    ] = None,
) -> None:
    """Test gene modules against gene sets, and their coherence against random partitions.

    Writes modules.csv (genes and leading sets of each), enrichment.csv, coherence.csv, and modules.md and .html with figures.
    """
    from scbig_dist.artifacts import write_text
    from scbig_dist.cli.tables import print_table
    from scbig_dist.cli.train import new_directory
    from scbig_dist.errors import UserError
    from scbig_dist.interpret.module_audit import audit_partition
    from scbig_dist.interpret.partition import cluster_store, is_run, run_partition
    from scbig_dist.report.modules import coherence_lines, enrichment_line, modules_document, modules_table
    from scbig_dist.report.write import write_document
    from scbig_dist.train.experiment import data_label

    overrides = parse_set(set_ or [])
    overrides |= {f"priors.{n}": str(f) for n, f in (("pathways", gmt), ("ppi", ppi)) if f is not None}
    of_run = is_run(place)
    if of_run and config is not None:
        raise UserError(f"--config {config}: the modules of run {place} are made; name its store to cluster anew")
    partition = run_partition(Path(place), overrides) if of_run else cluster_store(place, config, overrides)
    audit = audit_partition(partition, seed)
    found, label = audit.enrichment, data_label(partition.experiment)
    notes = [*audit.notes, f"coherence of expression over {audit.n_cells} {partition.cells_name}"]
    if found is None:
        notes.append("no gene sets (priors.pathways is null): enrichment is left out; give --gmt FILE")
    document = modules_document(
        partition.name,
        label,
        audit.modules,
        audit.coherence,
        None if found is None else found.table,
        {} if found is None else {"enrichment": found.terms, "enrichment_broad": found.broad},
        [] if found is None else found.n_random.tolist(),
        notes,
    )
    folder = output or (Path(place) / "modules" if of_run else new_directory("modules"))
    page = write_document(document, folder, "modules")
    tables = {"modules": audit.modules, "coherence": audit.coherence}
    if found is not None:
        tables["enrichment"] = found.table[found.table["overlap"] > 0]
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    said = Console(markup=False, stderr=True, soft_wrap=True, highlight=False)
    for line in notes:
        said.print(f"note: {line}")
    print_table(modules_table(audit.modules, short=True), N_ROWS)
    lines = coherence_lines(audit.coherence)
    for line in lines if found is None else [*lines, enrichment_line(found.table, found.n_random.tolist())]:
        typer.echo(line)
    said.print(f"written: {folder} (read {page})")
