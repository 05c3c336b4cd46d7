"""Make a report with all its files from one or several run directories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.files import write_text
from diadbench.common.show import Show
from diadbench.common.values.csv_files import write_frame
from diadbench.reports.paper.document import paper_tables, write_latex
from diadbench.reports.published.our_figures import beside
from diadbench.reports.tables.plain_text import to_csv, to_markdown
from diadbench.reports.tables.source import Source
from diadbench.reports.tables.stats import versus
from diadbench.reports.tables.table_shape import Table

if TYPE_CHECKING:
    from diadbench.reports.figures.share import Drawing

FORMATS = ("xlsx", "latex", "markdown", "csv", "figures", "html")


def build(
    runs: Iterable[Path | str] | Path | str,
    formats: Sequence[str] | None = None,
    out: Path | str | None = None,
    *,
    baseline: str = "",
    protocol: str = "",
    mix_protocols: bool = False,
    seed: int = 0,
    colours: bool = False,
    show: Show | Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Build a report.

    Args:
        runs: One or several run directories.
        formats: Some of ``xlsx latex markdown csv figures html``; all by default.
        out: Output directory; ``report`` in the first run directory by default.
        baseline: Method to compare all others with; by default that of ``show``, else DiAD, else the first.
        protocol: Use only the results of this protocol.
        mix_protocols: Let several protocols share a table.
        seed: Seed of the bootstrap.
        colours: Also shade best and second best in LaTeX.
        show: Names, classes, order, digits and similar settings, which override the ``show`` blocks of the runs' grids.

    Returns:
        ``{file name relative to the report: path}`` of everything written.

    Raises:
        UserError: A path is no run directory or has no results, a format or baseline is unknown, or protocols differ.
    """
    wanted = tuple(formats or FORMATS)
    for name in wanted:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS, where="--format")
    source = Source.load(runs, protocol=protocol, mix_protocols=mix_protocols, show=show)
    folder = Path(out) if out else source.runs[0].path / "report"
    _writable(folder)
    with _drawing(source, folder, wanted) as drawing:
        written = _write(
            source, folder, wanted, source.method(baseline or source.show.baseline), seed, drawing, colours=colours
        )
    return {path.relative_to(folder).as_posix(): path for path in written}


def _drawing(source: Source, folder: Path, wanted: Sequence[str]) -> AbstractContextManager[Drawing | None]:
    """Start to draw the figures, if they are requested."""
    if not {"figures", "html"} & set(wanted):
        return nullcontext()
    from diadbench.reports.figures.share import Drawing

    return Drawing(source, folder / "figures")


def _write(
    source: Source,
    folder: Path,
    wanted: Sequence[str],
    baseline: str,
    seed: int,
    drawing: Drawing | None,
    *,
    colours: bool,
) -> list[Path]:
    written: list[Path] = []
    have = not (source.results["metric"] == "").all()
    pairs = versus(source.results, baseline, seed=seed, table=source.table) if have else pd.DataFrame()
    published = beside(source.results, source.table, source.published) if have else pd.DataFrame()
    if "csv" in wanted:
        write_frame(source.raw, folder / "results.csv")
        written.append(folder / "results.csv")
    if "xlsx" in wanted:
        from diadbench.reports.workbook.excel import write_excel

        written.append(write_excel(source, folder / "results.xlsx", pairs, published))
    if have:
        tables = paper_tables(source) if {"markdown", "csv", "latex"} & set(wanted) else []
        written += _texts(tables, folder, wanted)
        if "latex" in wanted:
            written += write_latex(source, folder, tables, pairs, published, colours=colours)
    if drawing is None:
        return written
    from diadbench.reports.page.html import page_context, write_page

    context = page_context(source, pairs, published) if "html" in wanted else {}  # while other processes draw
    figures = drawing.finish()
    written += [path for drawn in figures.values() for path in drawn.files]
    captions = "".join(f"{name}: {drawn.caption}\n" for name, drawn in figures.items())
    write_text(folder / "figures" / "captions.txt", captions)
    written.append(folder / "figures" / "captions.txt")
    if "html" in wanted:
        written.append(write_page(source, folder / "index.html", context, figures))
    return written


def _texts(tables: list[Table], folder: Path, wanted: Sequence[str]) -> list[Path]:
    written = []
    for kind, ending, function in (("markdown", "md", to_markdown), ("csv", "csv", to_csv)):
        if kind in wanted:
            for table in tables:
                path = folder / "tables" / f"{table.name}.{ending}"
                write_text(path, function(table))
                written.append(path)
    return written


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: the report can't be written there ({error}); choose another place with --out"
        ) from error
