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

from diadbench.benchmark.store import RESULT_COLUMNS, CellRecord, RunDirectory
from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.reports.escape import clean
from diadbench.reports.frame import aggregate, prepare, tuples
from diadbench.reports.published import check_results


def read_results(run: RunDirectory) -> pd.DataFrame:
    """Return a run's results: from ``results.csv`` if it was built from the cells as they are, else from the cells."""
    if not run.results_are_current():
        return run.results()
    try:
        return _read_csv(run.path / "results.csv", run.name)
    except (OSError, ValueError, KeyError):  # being replaced, or not as this version writes it
        return run.results()


def _read_csv(path: Path, name: str) -> pd.DataFrame:
    numbers = ("n_normal", "n_anomalous", "n_defined", "n_classes")
    types: dict[str, Any] = {**dict.fromkeys(numbers, "float64"), "seed": "int64", "value": object}
    table = pd.read_csv(
        path,
        dtype={key: types.get(key, str) for key in RESULT_COLUMNS},
        keep_default_na=False,
        na_values={key: [""] for key in numbers},
    )
    # Python reads a figure to the last bit; before pandas 3.1, read_csv does so only by an option deprecated since
    texts = table["value"].to_numpy()
    table["value"] = np.where(texts == "", "nan", texts).astype("float64")
    table["run"] = name  # the directory may have been renamed since
    return table[list(RESULT_COLUMNS)]


@dataclass
class Source:
    """The prepared results and the cells behind them.

    Attributes:
        runs: Run directories.
        results: What :func:`diadbench.reports.frame.prepare` returns.
        raw: The results as the store returns them.
    """

    runs: list[RunDirectory]
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
            paths: One or several run directories.
            protocol: Keep this protocol alone.
            mix_protocols: Let several share a table.
            titles: Print ``PatchCore`` for ``patchcore`` (reads every status.json).

        Raises:
            UserError: Not a run directory, no cells, or several protocols and no choice.
        """
        several = [paths] if isinstance(paths, (str, Path)) else list(paths)
        runs = [RunDirectory(path) for path in several]
        raw = pd.concat([read_results(run) for run in runs], ignore_index=True)
        if raw.empty:
            raise UserError(f"{', '.join(str(run.path) for run in runs)}: no cells in it yet; run the grid first")
        source = cls(runs, raw, raw)
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
        """What arithmetic says against the results."""
        return check_results(self.results)

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
        keys = ["run", "dataset_label", "method_label", "setting", "seed"]
        printed = self.results.drop_duplicates(keys)[[*keys, "dataset", "method"]]
        names = {row[:5]: row[5:] for row in tuples(printed)}
        rows = []
        for run, cell in self.cells:
            key = (run.name, *_place(run, cell))
            if key in names:
                dataset, method = names[key]
                rows.append(
                    {"dataset": dataset, "method": method, "setting": key[3], "seed": key[4], **_facts(run, cell)}
                )
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
        return " + ".join(dict.fromkeys(clean(run.name) for run in self.runs))


def _place(run: RunDirectory, cell: CellRecord) -> tuple[str, str, str, int]:
    """Return dataset, method, setting and seed from the cell's path; its cell.yaml needn't be read."""
    dataset, method, setting, seed = (unquote(part) for part in cell.directory.relative_to(run.path / "cells").parts)
    return dataset, method, setting, int(seed.removeprefix("seed"))


def _facts(run: RunDirectory, cell: CellRecord) -> dict[str, Any]:
    status = cell.status
    phases = status.get("phases") or {}
    memory = status.get("peak_memory") or {}
    return {
        "run": run.name,
        "state": cell.state,
        "reason": clean(status.get("reason") or ""),
        "prepare": _number(phases.get("prepare")),
        "fit": _number(phases.get("fit")),
        "predict": _number(phases.get("predict")),
        "evaluate": _number(phases.get("evaluate")),
        "images_per_second": _number(status.get("images_per_second")),
        "parameters": _number(status.get("parameters")),
        "cpu_bytes": _number(memory.get("cpu_bytes")),
        "gpu_bytes": _number(memory.get("gpu_bytes")),
        "n_train": _number(status.get("n_train")),
        "n_test": _number(status.get("n_test")),
        "protocol": clean(status.get("protocol") or ""),
        "identity": clean(status.get("identity") or ""),
        "fingerprint": clean(status.get("fingerprint") or ""),
        "notes": "; ".join(clean(note) for note in status.get("notes") or []),
        "cell": cell,
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
