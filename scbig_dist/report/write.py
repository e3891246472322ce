"""A report of a run or a study, written beside it."""

from __future__ import annotations

import os
from pathlib import Path

from scbig_dist.errors import UserError
from scbig_dist.report import style
from scbig_dist.report.document import Document, Picture
from scbig_dist.report.html import to_html
from scbig_dist.report.markdown import to_markdown
from scbig_dist.report.reading import kind_of, read_run, read_study
from scbig_dist.report.run import run_document
from scbig_dist.report.study import study_document


def write_report(path: Path, out: Path | None = None) -> Path:
    """Write report.md, report.html and the figures (PNG, PDF) of the run or study at `path`; the HTML file's path.

    `out` is the folder, `path/report` by default. Only files on disk are read: what is missing or half-written is
    said in the report. A folder that is neither a run nor a study, or an unwritable one, is a UserError.
    """
    document = study_document(read_study(path)) if kind_of(path) == "study" else run_document(read_run(path))
    return write_document(document, path / "report" if out is None else out, "report")


def write_document(document: Document, folder: Path, name: str) -> Path:
    """Write `name`.md, `name`.html and the figures of a document into a folder; the HTML file's path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for block in document.blocks:
            if isinstance(block, Picture):
                style.save(block.figure, folder, block.name)
        _replace(folder / f"{name}.md", to_markdown(document))
        _replace(folder / f"{name}.html", to_html(document))
    except OSError as error:
        raise UserError(
            f"{name} {folder}: cannot be written ({error.strerror or error}); choose another folder with -o"
        ) from None
    return folder / f"{name}.html"


def _replace(path: Path, text: str) -> None:
    """Written beside and renamed: a reader never sees half a report."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
