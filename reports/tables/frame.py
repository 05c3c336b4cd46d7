"""From the rows of ``results.csv`` to the figures that tables print: names, means over seeds, ranks, notes.

:func:`prepare` selects and names, :func:`aggregate` computes. Every table, in every format, is a cut of the result of
:func:`aggregate`, so formats can't disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.common.wording import counted, some
from diadbench.reports.tables.rows.aggregation import aggregate, counted_once, one_experiment_a_row
from diadbench.reports.tables.rows.display import chosen, labels_renamed, of_classes, renamed
from diadbench.reports.tables.rows.experiments import (
    class_notes,
    datasets_apart,
    made_from,
    methods_apart,
    shared_notes,
)
from diadbench.reports.tables.rows.means import over_classes_shown
from diadbench.reports.tables.rows.pair_notes import notes
from diadbench.reports.tables.rows.printed_names import class_names, dataset_names, label_names, method_names
from diadbench.reports.tables.rows.result_rows import CELL, DIGITS, KEYS, MEAN, complete, printed, records, tuples
from diadbench.reports.tables.rows.row_kinds import kinds, of_each
from diadbench.reports.tables.rows.shared_cells import contradictions, doubt_notes, without_twins

__all__ = [
    "CELL",
    "DIGITS",
    "KEYS",
    "MEAN",
    "aggregate",
    "class_names",
    "complete",
    "contradictions",
    "counted_once",
    "notes",
    "one_experiment_a_row",
    "prepare",
    "printed",
    "records",
    "tuples",
]


def prepare(
    results: pd.DataFrame,
    *,
    protocol: str = "",
    mix_protocols: bool = False,
    titles: Mapping[tuple[str, str], str] | None = None,
    show: Show | Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Select one protocol, remove duplicates, and give methods and datasets their printed names.

    Cells that differ in more than their seed have different names. Differences in data and evaluation size are stated
    in the dataset's name (``toy (train=50)``), all others in the method's (``kNN (num_neighbors=2)``).

    Args:
        results: Long form, as :func:`diadbench.reports.load_results` returns it.
        protocol: Keep only the rows of this protocol.
        mix_protocols: Allow several protocols in a table; the protocol is then part of the method's name.
        titles: ``{("method", "patchcore"): "PatchCore"}``. A method is printed by its title, or by title and label if
            several have the same title; a dataset by its title if that only spells the label differently.
        show: Names, methods, datasets, classes and their order. Means go over the remaining classes.

    Returns:
        The same columns, with printed names in ``method`` and ``dataset``; ``setting`` and ``run`` are part of the
        method's name if they distinguish two rows. Labels are in ``method_label`` and ``dataset_label``. ``flags``
        also has notes that depend on several cells: a mean over fewer classes, other threads, a contradiction.

    Raises:
        UserError: Several protocols without a choice, an unknown protocol, or unknown names in ``show``.
    """
    show = Show.read(show)
    table = _one_protocol(complete(results), protocol, mix_protocols)
    made = made_from(table)
    doubted = contradictions(table)
    table = without_twins(table, doubted)
    for kind in ("method", "dataset"):
        table[f"{kind}_label"] = table[kind]
    given = labels_renamed(show, table, titles or {})
    names = {kind: label_names(kind, list(table[kind].unique()), titles or {}, given) for kind in ("method", "dataset")}
    table["dataset"] = dataset_names(table, datasets_apart(table, made), names["dataset"])
    table["method"] = method_names(table, methods_apart(table, made), names["method"], doubted)
    table["class"] = class_names(table)
    table = chosen(over_classes_shown(of_classes(renamed(table, show, titles or {}), show)), show)
    texts = [class_notes(table), shared_notes(table, made), doubt_notes(table, doubted)]
    return _with_notes(table, texts)


def _one_protocol(table: pd.DataFrame, protocol: str, mix: bool) -> pd.DataFrame:
    found = table.loc[table["metric"] != "", "protocol"].value_counts()
    if protocol:
        if protocol not in set(table["protocol"]):
            raise unknown_name("protocol", protocol, [str(name) for name in found.index])
        return table[table["protocol"] == protocol]
    if len(found) > 1 and not mix:
        names = some(f"{name} ({counted(count, 'row')})" for name, count in found.items())
        raise UserError(
            f"the results hold {len(found)} protocols, {names}: their figures can't be compared; "
            "choose one with --protocol NAME, or ask for all in one table with --mix-protocols"
        )
    return table


def _with_notes(table: pd.DataFrame, several: Sequence[Mapping[tuple[str, str], list[str]]]) -> pd.DataFrame:
    """Add notes to the flags of their rows."""
    added: dict[tuple[str, str], list[str]] = {}
    for part in several:
        for pair, texts in part.items():
            added.setdefault(pair, []).extend(text.replace(";", ",") for text in texts)
    if added:
        codes, rows = kinds(table, ["dataset", "method", "flags"])
        texts = ["; ".join(filter(None, [flags, *added.get((name, method), [])])) for name, method, flags in rows]
        table["flags"] = of_each(texts, codes, table["flags"])
    return table
