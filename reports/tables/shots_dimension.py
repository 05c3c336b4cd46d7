"""Training images a class as a dimension of tables: few-shot settings side by side, all images last."""

from __future__ import annotations

import pandas as pd

from diadbench.benchmark.records.store import shots_of
from diadbench.reports.tables.rows.aggregation import aggregate, one_experiment_a_row
from diadbench.reports.tables.rows.pair_notes import notes
from diadbench.reports.tables.rows.result_rows import tuples

#: What stands for all training images.
ALL = "all"


def by_shots(results: pd.DataFrame) -> pd.DataFrame:
    """Return results with a column ``shots`` (``"1"``, ``"2"``, ... or ``"all"``) and methods named without it.

    Methods of another setting than multi-class and few-shot keep it in their names.

    Args:
        results: Result of ``prepare``.
    """
    pairs = results[["method", "setting"]].drop_duplicates()
    names = {(name, setting): _plain(name, setting) for name, setting in tuples(pairs)}
    keys = list(zip(results["method"], results["setting"]))
    counts = {setting: shots_of(setting) for setting in pairs["setting"]}
    shots = [ALL if counts[setting] is None else str(counts[setting]) for _, setting in keys]
    return results.assign(method=[names[key] for key in keys], shots=shots)


def has_shots(results: pd.DataFrame) -> bool:
    """Return whether any cell is of a few-shot setting."""
    return any(shots_of(setting) is not None for setting in results["setting"].unique())


def shots_words(shots: str) -> str:
    """Return the head of a number of shots: ``1 shot``, ``all images``."""
    return "all images" if shots == ALL else f"{shots} {'shot' if shots == '1' else 'shots'}"


def in_shots_order(results: pd.DataFrame) -> list[str]:
    """Return the values of ``shots``, the fewest first."""
    return sorted(results["shots"].unique(), key=lambda text: (text == ALL, 0 if text == ALL else int(text)))


def aggregate_by_shots(results: pd.DataFrame, *, by_seed: bool, digits: int) -> pd.DataFrame:
    """Return ``aggregate`` of each number of shots, ranked among its own, with the column ``shots``."""
    parts = [
        one_experiment_a_row(aggregate(part, by_seed=by_seed, digits=digits)).assign(shots=shots)
        for shots, part in results.groupby("shots", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def notes_by_shots(results: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the notes on each (dataset, method); one that not all its shots have says which have it."""
    order = in_shots_order(results)
    where: dict[tuple[str, str], dict[str, list[str]]] = {}
    there: dict[tuple[str, str], list[str]] = {}
    for shots in order:
        for pair, texts in notes(results[results["shots"] == shots]).items():
            there.setdefault(pair, []).append(shots)
            for text in texts:
                where.setdefault(pair, {}).setdefault(text, []).append(shots)
    return {
        pair: [
            text if own == there[pair] else f"with {', '.join(own)} {'shot' if own == ['1'] else 'shots'}: {text}"
            for text, own in texts.items()
        ]
        for pair, texts in where.items()
    }


def _plain(name: str, setting: str) -> str:
    counted = shots_of(setting) is not None or setting == "multi-class"
    return name.replace(f" ({setting})", "", 1) if counted else name
