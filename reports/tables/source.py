"""Input of a report: the results of one or several runs, and the records of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from diadbench.benchmark.records.store import CellRecord, RunDirectory, open_runs, results_of
from diadbench.common.errors import UserError
from diadbench.common.show import Show, in_all_runs
from diadbench.common.values.csv_files import rows_of
from diadbench.common.wording import some
from diadbench.reports.published.entries import with_published
from diadbench.reports.published.figure_arithmetic import check_results
from diadbench.reports.published.published_files import load_published
from diadbench.reports.tables.costs import evaluation, spent
from diadbench.reports.tables.cut import cut
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import prepare
from diadbench.reports.tables.labels import Metric
from diadbench.reports.tables.rows.aggregation import aggregate
from diadbench.reports.tables.rows.display import in_order, resolve
from diadbench.reports.tables.rows.result_rows import complete, tuples
from diadbench.reports.tables.rows.shared_cells import contradictions
from diadbench.reports.tables.rows.unfinished_rows import with_waiting
from diadbench.reports.tables.shots_dimension import has_shots
from diadbench.reports.tables.table_shape import Table


@dataclass
class Source:
    """The prepared results and the cells behind them.

    Attributes:
        runs: Run directories, each once.
        names: Name of each run: its shortest unique path ending.
        results: Result of :func:`diadbench.reports.tables.frame.prepare`.
        raw: The results as the store returns them.
        show: Display settings.
    """

    runs: list[RunDirectory]
    names: list[str]
    results: pd.DataFrame
    raw: pd.DataFrame
    show: Show = field(default_factory=Show)

    @classmethod
    def load(
        cls,
        paths: Iterable[Path | str] | Path | str,
        *,
        protocol: str = "",
        mix_protocols: bool = False,
        titles: bool = True,
        show: Show | Mapping[str, Any] | None = None,
        means_alone: bool = False,
    ) -> Source:
        """Read run directories.

        Args:
            paths: One or several run directories; repeated ones and links to the same directory count once.
            protocol: Keep only this protocol.
            mix_protocols: Allow several protocols in a table.
            titles: Print ``PatchCore`` for ``patchcore`` (reads every status.json).
            show: Display settings, which override the ``show`` blocks of the runs' grids.
            means_alone: Only means over classes are needed: leave out the rows of classes if no mean changes.

        Raises:
            UserError: A path is no run directory, there are no cells, or several protocols without a choice.
        """
        opened = open_runs(paths)
        runs, names = [run for _, run in opened], [name for name, _ in opened]
        how = shown(opened, Show.read(show))
        raw = results_of(opened, means_alone=means_alone and not (how.classes or how.drop), lean=True)
        if raw.empty:
            raise UserError(f"{some(run.path for run in runs)}: no cells in it yet; run the grid first")
        source = cls(runs, names, raw, raw, how)
        found = source._titles() if titles else None
        shown_rows = with_waiting(raw, opened)
        source.results = prepare(
            shown_rows, protocol=protocol, mix_protocols=mix_protocols, titles=found, show=source.show
        )
        if source.results.empty:
            raise UserError("show: nothing is left to show; name methods, datasets and classes that were run together")
        return source

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return the result of ``aggregate`` for the results."""
        return aggregate(self.results, digits=self.show.digits)

    @cached_property
    def outline(self) -> pd.DataFrame:
        """Return the first row of each cell and metric: names, states and notes, in the order of the results.

        A table takes its figures from :attr:`table`, and all else from these rows, a twentieth of the results.
        """
        return self.results.drop_duplicates(["path", "run", "dataset", "method", "setting", "seed", "metric"])

    def method(self, wanted: str) -> str:
        """Return the printed name of the method given by a text; ``""`` stays ``""``. Raises UserError."""
        return resolve("method", wanted, self.results)[0] if wanted else ""

    def named(self, kind: str, wanted: str) -> str:
        """Return the printed name of the method or dataset given by a text; ``""`` stays ``""``. Raises UserError."""
        return resolve(kind, wanted, self.results)[0] if wanted else ""

    @cached_property
    def published(self) -> pd.DataFrame:
        """Return all published rows, including those of the runs."""
        return load_published(run.path for run in self.runs)

    def cut(self, *, dataset: str = "", **wanted: Any) -> Table:
        """Return a table of the results with the display settings, including published rows.

        Args:
            dataset: Use only this dataset.
            **wanted: Arguments of :func:`diadbench.reports.cut`.
        """
        used = {*wanted.get("rows", ()), *wanted.get("columns", ())}
        # Means of their own are computed from all classes; other tables take them from the one of all cells.
        results, table = self.results if {"seed", "shots"} & used else self.outline, self.table
        if dataset:
            results, table = results[results["dataset"] == dataset], table[table["dataset"] == dataset]
        found = cut(results, table=table, show=self.show, **wanted)
        return with_published(found, results, self.show.published, self.published)

    def shots_tables(self) -> list[Table]:
        """Return a table of methods by shots for each of three metrics; none without few-shot settings."""
        if not has_shots(self.results):
            return []
        there = self.results.loc[self.results["value"].notna(), "metric"].unique()
        return [
            self.cut(
                rows=["dataset", "method"],
                columns=["shots"],
                metrics=[metric],
                name=f"shots_{metric}",
                caption=f"{Metric(metric).text} by training images a class, means over classes.",
            )
            for metric in ("i_auroc", "p_auroc", "aupro")
            if metric in there
        ]

    @cached_property
    def problems(self) -> pd.DataFrame:
        """Return contradictions in the results, and cells with two results, with the columns of ``check_results``."""
        found = check_results(self.results)
        shown = complete(self.raw[self.raw["protocol"].isin(self.results["protocol"].unique())])
        twice = contradictions(shown)[list(found.columns)]
        return pd.concat([twice, found], ignore_index=True) if len(twice) else found

    @cached_property
    def cells(self) -> list[tuple[RunDirectory, CellRecord]]:
        """Return all cells of all runs."""
        return [(run, cell) for run in self.runs for cell in run.cells()]

    def _titles(self) -> dict[tuple[str, str], str]:
        """Return the titles of methods and datasets, each from the first status file with a title."""
        found: dict[tuple[str, str], str] = {}
        for run in self.runs:
            for dataset, method, setting, seed in sorted(run.found.keys):
                if ("method", method) in found and ("dataset", dataset) in found:
                    continue
                status = run.cell(dataset, method, setting, seed).status
                for kind, label in (("method", method), ("dataset", dataset)):
                    title = (status.get(f"{kind}_info") or {}).get("title")
                    if title:
                        found.setdefault((kind, label), str(title))
        return found

    @cached_property
    def facts(self) -> pd.DataFrame:
        """Return one row per cell: names, state, reason, times, memory, versions, and its record in ``cell``.

        The record is a fresh one, which reads the cell's files when it is asked: thousands of contents fill gigabytes.
        """
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
                rows.append({**head, **_facts(replace(cell))})
        return pd.DataFrame(rows)

    @cached_property
    def done(self) -> pd.DataFrame:
        """Return the rows of :attr:`facts` of finished cells whose protocol is shown."""
        facts = self.facts
        if facts.empty:
            return pd.DataFrame({"dataset": [], "method": [], "seed": [], "cell": []})
        return facts[(facts["state"] == "done") & facts["protocol"].isin(self.results["protocol"].unique())]

    def kept(self, name: str, kinds: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the rows of a CSV that every cell of :attr:`done` may keep; the files are read once for a report.

        Args:
            name: Name of the file (``decisions.csv``).
            kinds: Return only the rows with one of these texts in the column ``kind``.

        Returns:
            The columns of the file, ``dataset``, ``method``, ``seed`` and ``cell``, the cell's row in :attr:`done`;
            without rows and columns if no cell keeps the file.
        """
        if (name, kinds) not in self._kept:
            found = rows_of([cell.directory / name for cell in self.done["cell"]], kinds)
            if len(found):
                places = found.pop("file")
                labels = self.done[["dataset", "method", "seed"]].iloc[places].reset_index(drop=True)
                found = found.assign(**labels, cell=places)
            self._kept[name, kinds] = found
        return self._kept[name, kinds]

    @cached_property
    def _kept(self) -> dict[tuple[str, tuple[str, ...]], pd.DataFrame]:
        return {}

    @cached_property
    def methods(self) -> list[str]:
        """Return the printed names of the methods, in the order of tables."""
        return in_order(self.results, "method")

    @cached_property
    def datasets(self) -> list[str]:
        """Return the printed names of the datasets, in the order of tables."""
        return in_order(self.results, "dataset")

    @property
    def title(self) -> str:
        """Return the name of the report."""
        return " + ".join(clean(name) for name in self.names)


def shown(opened: Iterable[tuple[str, RunDirectory]], over: Show) -> Show:
    """Return the display settings of runs: those of their grids, overridden by ``over``.

    Raises:
        UserError: The grids differ in a setting that ``over`` doesn't give.
    """
    blocks = {}
    for name, run in opened:
        block = Show.read(run.grid.get("show"), f"{run.path / 'grid.yaml'}: show")
        settled = set(over.given) | ({"classes", "drop"} if {"classes", "drop"} & set(over.given) else set())
        kept = {key: value for key, value in block.given.items() if key not in settled or key == "names"}
        names = {key: value for key, value in block.names.items() if key not in over.names}
        blocks[name] = Show(**{**kept, "names": names})
    return in_all_runs(blocks).under(over)


def _place(run: RunDirectory, cell: CellRecord) -> tuple[str, str, str, int]:
    """Return dataset, method, setting and seed from the cell's path, without reading its cell.yaml."""
    dataset, method, setting, seed = (unquote(part) for part in cell.directory.relative_to(run.path / "cells").parts)
    return dataset, method, setting, int(seed.removeprefix("seed"))


def _facts(cell: CellRecord) -> dict[str, Any]:
    status = cell.status
    phases = status.get("phases") or {}
    return {
        "state": cell.state,
        "reason": clean(status.get("reason") or ""),
        **spent(status),
        "protocol": clean(status.get("protocol") or ""),
        "identity": clean(status.get("identity") or ""),
        "fingerprint": clean(status.get("fingerprint") or ""),
        "notes": "; ".join(clean(note) for note in status.get("notes") or []),
        "evaluation": evaluation(cell),
        "thresholds_from": clean(status.get("thresholds_from") or ""),
        "calibrate": phases.get("calibrate", 0.0),
        "all_phases": sum(phases.values()) - phases.get("model", 0.0),  # "predict" holds "model"
        "traceback": str(status.get("traceback") or ""),
        "cell": replace(cell),
    }
