"""One self-contained HTML page about a study: no script, no request, readable offline."""

from bounds.present.report.page import make_report, write_report

__all__ = ["make_report", "write_report"]
