"""Results on disk as something to read: Markdown, one HTML file, figures as PNG and PDF."""

from scbig_dist.report.write import write_report

__all__ = ["write_report"]
