"""``results.xlsx``: all results in one workbook, with numbers as numbers, best bold, second best underlined."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from openpyxl import Workbook

from diadbench.common.files import write_with
from diadbench.reports.figures.palette import styles_of
from diadbench.reports.tables.source import Source
from diadbench.reports.workbook.comparison_sheets import write_published, write_versus
from diadbench.reports.workbook.record_sheets import write_cost, write_failures, write_provenance
from diadbench.reports.workbook.result_sheets import write_dataset, write_seeds, write_shots, write_summary
from diadbench.reports.workbook.thresholds_sheet import write_thresholds


def write_excel(source: Source, path: Path, versus: pd.DataFrame, published: pd.DataFrame) -> Path:
    """Write the workbook of a report and return its path."""
    book = Workbook()
    book.remove(book.worksheets[0])
    book.properties.title = f"diadbench: {source.title}"
    book.properties.creator = "diadbench"
    table = source.table
    if len(table):
        write_summary(book, source)
        colours = {method: style.colour for method, style in styles_of(source).items()}
        for dataset in source.datasets:
            write_dataset(book, source, dataset, colours)
        write_shots(book, source)
        write_versus(book, source, versus)
        write_seeds(book, source)
        write_thresholds(book, source)
        write_published(book, published)
        write_cost(book, source, colours)
    write_failures(book, source)
    write_provenance(book, source)
    write_with(path, book.save)
    return path
