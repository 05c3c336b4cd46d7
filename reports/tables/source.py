"""What a report is made of: the results of one or several runs, and the records of their cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from diadbench.benchmark.records.store import CSV_COLUMNS, RESULT_COLUMNS, CellRecord, RunDirectory, open_runs
from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.reports.published.literature import check_results
from diadbench.reports.tables.costs import spent
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import aggregate, complete, contradictions, prepare, tuples


def read_results(run: RunDirectory, name: str = "") -> pd.DataFrame:
    """Return a run's results: from ``results.csv`` while it was made from the cells as they are, else from the cells.

    Args:
        run: The run directory.
        name: What the run is called in tables; by default the name of its directory.
    """
    try:
        table = _read_csv(run.path / "results.csv") if run.results_are_current() else run.results()
    except (OSError, ValueError, KeyError):  # being replaced, or not as this version writes it
        table = run.results()
    # the directory may have been renamed or moved since
    return table.assign(run=name or run.name, path=str(run.path.resolve()))[list(RESULT_COLUMNS)]


def _read_csv(path: Path) -> pd.DataFrame:
    numbers = ("n_normal", "n_anomalous", "n_defined", "n_classes")
    types: dict[str, Any] = {**dict.fromkeys(numbers, "float64"), "seed": "int64", "value": object}
    table = pd.read_csv(
        path,
        dtype={key: types.get(key, str) for key in CSV_COLUMNS},
        keep_default_na=False,
        na_values={key: [""] for key in numbers},
    )
    # Python reads a figure to the last bit; before pandas 3.1, read_csv does so only by an option deprecated since
    texts = table["value"].to_numpy()
    table["value"] = np.where(texts == "", "nan", texts).astype("float64")
    return table


@dataclass
class Source:
    """The prepared results and the cells behind them.

    Attributes:
        runs: Run directories, each once.
        names: What each run is called: the shortest end of its path that no other run has.
        results: What :func:`diadbench.reports.tables.frame.prepare` returns.
        raw: The results as the store returns them.
    """

    runs: list[RunDirectory]
    names: list[str]
    results: pd.DataFrame
    raw: pd.DataFrame

    @classmethod
    def load(
        cls,
        paths: Iterable[Path | str] | Path | str,
        *,
        protocol: str = "",
        mix_protocols: bool = False,
        titles: bool = True,
    ) -> Source:
        """Read run directories.

        Args:
            paths: One or several run directories; one that is given twice, or by a link, counts once.
            protocol: Keep this protocol alone.
            mix_protocols: Let several share a table.
            titles: Print ``PatchCore`` for ``patchcore`` (reads every status.json).

        Raises:
            UserError: Not a run directory, no cells, or several protocols and no choice.
        """
        opened = open_runs(paths)
        runs, names = [run for _, run in opened], [name for name, _ in opened]
        raw = pd.concat([read_results(run, name) for name, run in opened], ignore_index=True)
        if raw.empty:
            raise UserError(f"{', '.join(str(run.path) for run in runs)}: no cells in it yet; run the grid first")
        source = cls(runs, names, raw, raw)
        source.results = prepare(
            raw, protocol=protocol, mix_protocols=mix_protocols, titles=source._titles() if titles else None
        )
        return source

    @cached_property
    def table(self) -> pd.DataFrame:
        """What ``aggregate`` returns for the results."""
        return aggregate(self.results)

    @cached_property
    def problems(self) -> pd.DataFrame:
        """What arithmetic says against the results, and cells that have two results. Columns as ``check_results``."""
        found = check_results(self.results)
        shown = complete(self.raw[self.raw["protocol"].isin(self.results["protocol"].unique())])
        twice = contradictions(shown)[list(found.columns)]
        return pd.concat([twice, found], ignore_index=True) if len(twice) else found

    @cached_property
    def cells(self) -> list[tuple[RunDirectory, CellRecord]]:
        """All cells of all runs."""
        return [(run, cell) for run in self.runs for cell in run.cells()]

    def _titles(self) -> dict[tuple[str, str], str]:
        """Return the titles of methods and datasets, each from the first status file that has one."""
        found: dict[tuple[str, str], str] = {}
        for run in self.runs:
            for path in sorted((run.path / "cells").glob("*/*/*/seed*/status.json")):
                dataset, method = (unquote(part) for part in path.relative_to(run.path / "cells").parts[:2])
                if ("method", method) in found and ("dataset", dataset) in found:
                    continue
                status = read_json(path) or {}
                for kind, label in (("method", method), ("dataset", dataset)):
                    title = (status.get(f"{kind}_info") or {}).get("title")
                    if title:
                        found.setdefault((kind, label), str(title))
        return found

    @cached_property
    def facts(self) -> pd.DataFrame:
        """One row a cell: names, state, reason, times, memory, versions, and its record in ``cell``."""
        keys = ["path", "dataset_label", "method_label", "setting", "seed"]
        printed = self.results.drop_duplicates(keys)[[*keys, "run", "dataset", "method"]]
        names = {row[:5]: row[5:] for row in tuples(printed)}
        rows = []
        for run, cell in self.cells:
            place = _place(run, cell)
            key = (str(run.path.resolve()), *place)
            if key in names:
                name, dataset, method = names[key]
                head = {"run": name, "dataset": dataset, "method": method, "setting": place[2], "seed": place[3]}
                rows.append({**head, **_facts(cell)})
        return pd.DataFrame(rows)

    @cached_property
    def methods(self) -> list[str]:
        """Printed names of the methods, in the order of the grid."""
        return list(self.results["method"].unique())

    @cached_property
    def datasets(self) -> list[str]:
        """Printed names of the datasets, in the order of the grid."""
        return list(self.results["dataset"].unique())

    @property
    def title(self) -> str:
        """Name of the report."""
        return " + ".join(clean(name) for name in self.names)


def _place(run: RunDirectory, cell: CellRecord) -> tuple[str, str, str, int]:
    """Return dataset, method, setting and seed from the cell's path; its cell.yaml needn't be read."""
    dataset, method, setting, seed = (unquote(part) for part in cell.directory.relative_to(run.path / "cells").parts)
    return dataset, method, setting, int(seed.removeprefix("seed"))


def _facts(cell: CellRecord) -> dict[str, Any]:
    status = cell.status
    return {
        "state": cell.state,
        "reason": clean(status.get("reason") or ""),
        **spent(status),
        "protocol": clean(status.get("protocol") or ""),
        "identity": clean(status.get("identity") or ""),
        "fingerprint": clean(status.get("fingerprint") or ""),
        "notes": "; ".join(clean(note) for note in status.get("notes") or []),
        "cell": cell,
    }
