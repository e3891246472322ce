"""Results on disk as something to read: Markdown, one HTML file, figures as PNG and PDF."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scbig_dist.report.write import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """`write_report`, imported when it is asked for: it brings matplotlib, which whoever only reads does not need."""
    if name != "write_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from scbig_dist.report.write import write_report

    return write_report
