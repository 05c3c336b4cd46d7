"""What a report is made of: the results of one or several runs, and the records of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from diadbench.benchmark.records.store import CellRecord, RunDirectory, open_runs, results_of
from diadbench.common.errors import UserError
from diadbench.common.files import read_json
from diadbench.common.show import Show, in_all_runs
from diadbench.reports.published.entries import with_published
from diadbench.reports.published.literature import check_results, load_published
from diadbench.reports.tables.costs import spent
from diadbench.reports.tables.cut import Table, cut
from diadbench.reports.tables.display import in_order, resolve
from diadbench.reports.tables.escape import clean
from diadbench.reports.tables.frame import aggregate, complete, contradictions, prepare, tuples


def read_results(run: RunDirectory, name: str = "") -> pd.DataFrame:
    """Return a run's results, as its cells are.

    Args:
        run: The run directory.
        name: What the run is called in tables; by default the name of its directory.
    """
    return results_of([(name or run.name, run)])


@dataclass
class Source:
    """The prepared results and the cells behind them.

    Attributes:
        runs: Run directories, each once.
        names: What each run is called: the shortest end of its path that no other run has.
        results: What :func:`diadbench.reports.tables.frame.prepare` returns.
        raw: The results as the store returns them.
        show: How they are shown.
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
            paths: One or several run directories; one that is given twice, or by a link, counts once.
            protocol: Keep this protocol alone.
            mix_protocols: Let several share a table.
            titles: Print ``PatchCore`` for ``patchcore`` (reads every status.json).
            show: How to show the results; laid over the ``show`` blocks of the runs' grids.
            means_alone: Only means over classes are wanted: leave the rows of classes out where that changes none.

        Raises:
            UserError: Not a run directory, no cells, or several protocols and no choice.
        """
        opened = open_runs(paths)
        runs, names = [run for _, run in opened], [name for name, _ in opened]
        how = shown(opened, Show.read(show))
        raw = results_of(opened, means_alone=means_alone and not (how.classes or how.drop), lean=True)
        if raw.empty:
            raise UserError(f"{', '.join(str(run.path) for run in runs)}: no cells in it yet; run the grid first")
        source = cls(runs, names, raw, raw, how)
        found = source._titles() if titles else None
        source.results = prepare(raw, protocol=protocol, mix_protocols=mix_protocols, titles=found, show=source.show)
        if source.results.empty:
            raise UserError("show: nothing is left to show; name methods, datasets and classes that were run together")
        return source

    @cached_property
    def table(self) -> pd.DataFrame:
        """What ``aggregate`` returns for the results."""
        return aggregate(self.results, digits=self.show.digits)

    def method(self, wanted: str) -> str:
        """Return the printed name of the method that a text means; ``""`` stays ``""``. Raises UserError."""
        return resolve("method", wanted, self.results)[0] if wanted else ""

    def named(self, kind: str, wanted: str) -> str:
        """Return the printed name of the method or dataset that a text means; ``""`` stays ``""``. Raises UserError."""
        return resolve(kind, wanted, self.results)[0] if wanted else ""

    @cached_property
    def published(self) -> pd.DataFrame:
        """All published rows, those that belong to the runs included."""
        return load_published(run.path for run in self.runs)

    def cut(self, *, dataset: str = "", **wanted: Any) -> Table:
        """Return a table of the results as they are to be shown, published rows included.

        Args:
            dataset: Of this dataset alone.
            **wanted: Arguments of :func:`diadbench.reports.cut`.
        """
        results, table = self.results, self.table
        if dataset:
            results, table = results[results["dataset"] == dataset], table[table["dataset"] == dataset]
        found = cut(results, table=table, show=self.show, **wanted)
        return with_published(found, results, self.show.published, self.published)

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
            for dataset, method, setting, seed in sorted(run.found.keys):
                if ("method", method) in found and ("dataset", dataset) in found:
                    continue
                status = read_json(run.cell(dataset, method, setting, seed).directory / "status.json") or {}
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
        """Printed names of the methods, in the order of tables."""
        return in_order(self.results, "method")

    @cached_property
    def datasets(self) -> list[str]:
        """Printed names of the datasets, in the order of tables."""
        return in_order(self.results, "dataset")

    @property
    def title(self) -> str:
        """Name of the report."""
        return " + ".join(clean(name) for name in self.names)


def shown(opened: Iterable[tuple[str, RunDirectory]], over: Show) -> Show:
    """Return how runs are shown: what their grids say, and ``over`` laid over it.

    Raises:
        UserError: The grids say different things for what ``over`` leaves open.
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
