r"""One LaTeX macro for each printed figure, so that a sentence in the paper can't drift from its table.

``\diadMvtecIAuroc`` is DiAD's mean image AU-ROC on MVTec; the same with ``Std`` at its end is its standard deviation
and with ``Seeds`` its number of seeds. Macro names hold letters only, so digits are spelled: ``mvtec3d`` gives
``MvtecThreed``.
"""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

from diadbench.reports.tables.escape import clean, latex
from diadbench.reports.tables.rows.aggregation import aggregate, one_experiment_a_row
from diadbench.reports.tables.rows.result_rows import DIGITS, printed, records

SPELLED = dict(zip("0123456789", ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]))


def camel(text: str) -> str:
    """Return ``text`` as letters only: ``patch-core 2`` -> ``PatchCoreTwo``; other scripts as spelled code points."""
    words = re.split(r"[^0-9A-Za-z]+", _ascii(text))
    spelled = ("".join(SPELLED.get(char, char) for char in word) for word in words if word)
    return "".join(word[:1].upper() + word[1:] for word in spelled)


def _ascii(text: str) -> str:
    parts = []
    for char in unicodedata.normalize("NFKD", clean(text)):
        if char.isascii():
            parts.append(char)
        elif not unicodedata.combining(char):
            parts.append("U" + "".join(chr(97 + int(digit, 16)) for digit in f"{ord(char):x}"))
    return "".join(parts)


def metric_name(key: str) -> str:
    """Return a metric's part of a macro name: ``i_auroc`` -> ``IAuroc``."""
    return camel(key.replace("_", " "))


def macro_names(results: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return ``{(dataset, method): beginning of the macro's name}``, unique."""
    names: dict[tuple[str, str], str] = {}
    kinds = results[["dataset", "method", "dataset_label"]].drop_duplicates(["dataset", "method"])
    several = kinds.groupby("dataset_label")["dataset"].nunique() > 1  # their names show the difference
    for dataset, method, label in kinds.itertuples(index=False, name=None):
        start = _lower_first(camel(method) or "Method")
        if start.startswith("end"):  # \end... is reserved in LaTeX.
            start = "method" + start
        name = start + (camel(_lower_words(dataset if several[label] else label)) or "Dataset")
        unique, number = name, 1
        while unique in names.values():
            number += 1
            unique = name + "".join(SPELLED[digit] for digit in str(number))
        names[dataset, method] = unique
    return names


def _lower_first(word: str) -> str:
    """Convert ``DiAD`` -> ``diad``, ``PatchCore`` -> ``patchcore``, since macros are typed by hand."""
    return word.lower()


def _lower_words(text: str) -> str:
    return text.lower()


def to_macros(results: pd.DataFrame, table: pd.DataFrame | None = None, *, digits: int = DIGITS) -> str:
    """Return ``macros.tex`` for the result of ``prepare``, with this number of decimals."""
    table = one_experiment_a_row(aggregate(results, digits=digits) if table is None else table)
    names = macro_names(results)
    lines = [
        r"% \<method><Dataset><Metric>: one macro a figure, as printed in the tables. \input{macros} in the preamble."
    ]
    for row in records(table[table["scope"] == "mean"]):
        name = "\\" + names[row["dataset"], row["method"]] + metric_name(row["metric"])
        shown = row["hole"] or ("--" if pd.isna(row["value"]) else printed(row["value"], digits))
        lines.append(_define(name, shown))
        if row["seeds"] > 1:
            lines.append(_define(name + "Std", printed(row["std"], digits)))
        lines.append(_define(name + "Seeds", str(row["seeds"])))
    for (dataset, method), name in names.items():
        lines.append(rf"% \{name}...: {latex(method)} on {latex(dataset)}")
    return "\n".join(lines) + "\n"


def _define(name: str, text: str) -> str:
    return rf"\newcommand{{{name}}}{{{text}}}"
