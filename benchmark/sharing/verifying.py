"""Whether a run's figures are what its scores and maps give, and whether it holds together.

It finds changes that don't fit the rest. Who makes up a whole run consistently is found out by running a cell again
(``diadbench rerun``), not by this.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from diadbench.benchmark.records.identity import digest
from diadbench.benchmark.records.store import CSV_COLUMNS, ENDED, CellRecord, RunDirectory
from diadbench.benchmark.sharing.cell_checks import check_cell, told
from diadbench.benchmark.sharing.figure_checks import check_figures
from diadbench.benchmark.sharing.grid_file_checks import check_grid_file
from diadbench.benchmark.sharing.map_checks import check_maps, why_not
from diadbench.benchmark.sharing.opening import opened
from diadbench.benchmark.sharing.verify_findings import Finding, Verified
from diadbench.common.errors import UserError
from diadbench.common.wording import some

Progress = Callable[[int, int, str], None]


#: Said of a cell whose status lacks what all other checks rest on.
_EARLIER = (
    "status.json doesn't say what decides the result, as earlier versions left it; nothing else of the cell was checked"
)


def verify(path: Path, roots: Mapping[str, str], progress: Progress | None = None) -> Verified:
    """Check a run directory or a pack. Nothing that it holds is executed.

    Args:
        path: Run directory or archive.
        roots: Where data lie here, by the labels of data sets; else where the cells found them.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: No run and no pack, or a label that the run doesn't have.
    """
    with opened(path) as run:
        found = Verified()
        every = _cells(run)
        cells = [record for record in every if _is_readable(record, found)]
        found.findings += _run_findings(run, cells)
        _check_roots(roots, every)
        for done, record in enumerate(cells):
            if progress is not None:
                progress(done, len(cells), told(record))
            if record.status["state"] in ENDED and not record.status.get("decides"):
                found.findings.append(Finding("identity", _EARLIER, told(record)))
                continue
            found.findings += check_cell(record, run)
            if record.state == "done":
                found.findings += check_figures(record)
                _check_maps(record, roots, found)
        found.cells = len(every)
        return found


def _cells(run: RunDirectory) -> list[CellRecord]:
    return [*run.cells(), *run.left_over()]


def _is_readable(record: CellRecord, found: Verified) -> bool:
    """Whether a cell's files can be read; otherwise that is a finding, and nothing else of the cell can be checked."""
    try:
        record.config, record.metrics()
    except UserError as error:
        found.findings.append(Finding("file", str(error), told(record)))
        return False
    return True


def _check_roots(roots: Mapping[str, str], cells: list[CellRecord]) -> None:
    labels = {record.dataset for record in cells}
    for label in roots:
        if label not in labels:
            raise UserError(f"--root {label}=...: the run has no data set {label}; known: {some(sorted(labels))}")


def _check_maps(record: CellRecord, roots: Mapping[str, str], found: Verified) -> None:
    root = roots.get(record.dataset) or record.config.get("root")
    why = why_not(record, root)
    if why:
        found.unchecked.setdefault(why, []).append(told(record))
    else:
        found.findings += check_maps(record, root)


# -- of the run ------------------------------------------------------------------------------------------------------


def _run_findings(run: RunDirectory, cells: list[CellRecord]) -> Iterator[Finding]:
    yield from _plan(run)
    yield from _doubled(run, cells)
    yield from check_grid_file(run, cells)
    yield from _data(run, cells)
    yield from _results(run)


def _plan(run: RunDirectory) -> Iterator[Finding]:
    if not run.wanted:
        if any("evaluated_from" in record.status for record in run.on_disk()):
            return  # `diadbench evaluate` plans nothing
        yield Finding("file", "plan.json isn't there, or says nothing of the cells")
        return
    for key, wanted in run.wanted.items():
        name = "{} / {} / {} / seed {}".format(*key)
        if digest(wanted.decides) != wanted.configuration:
            yield Finding("configuration", "plan.json's hash isn't that of what decides there", name)
        if digest({**wanted.decides, "seed": key[3]}) != wanted.identity:
            yield Finding("identity", "plan.json's hash isn't that of what decides there, and the seed", name)
        if not (run.cell(*key).directory / "cell.yaml").is_file():
            yield Finding("file", "it is planned, but its directory or cell.yaml isn't there", name)
    for record in run.left_over():
        yield Finding("plan", "it is in no plan of the run", told(record))


def _doubled(run: RunDirectory, cells: list[CellRecord]) -> Iterator[Finding]:
    """Name cells that are one and the same: one process and start, or one identity that the plan doesn't ask twice.

    Two labels of one configuration are two cells, both of which were run.
    """
    asked = Counter(wanted.identity for wanted in run.wanted.values())
    planned = {run.cell(*key).directory: wanted.identity for key, wanted in run.wanted.items()}
    known: dict[tuple[str, object], CellRecord] = {}
    for record in cells:
        status = record.status
        if status.get("state") not in ("done", "stale"):
            continue
        start = (status.get("host"), status.get("pid"), status["started"]) if status.get("started") else None
        identity = str(status.get("identity") or "")
        twice = asked[identity] > 1 and planned.get(record.directory) == identity
        for kind, value in (("identity", None if twice else identity), ("start", start)):
            first = known.setdefault((kind, value), record) if value else record
            if first is not record:
                yield Finding("doubled", f"has the same {kind} as {told(first)}", told(record))
                break


def _data(run: RunDirectory, cells: list[CellRecord]) -> Iterator[Finding]:
    """Name data sets whose cells saw other data: methods that read the same channels must have one fingerprint."""
    known: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}
    of_grid = {record.directory for record in run.cells()}
    for record in cells:
        if record.directory not in of_grid:
            continue
        info = record.config.get("method_info") or {}
        fingerprint = str(record.status.get("fingerprint") or "")
        if record.state != "done" or not fingerprint:
            continue
        first, where = known.setdefault((record.dataset, tuple(info.get("channels", ()))), (fingerprint, told(record)))
        if first != fingerprint:
            yield Finding("fingerprint", f"{fingerprint} is another one than that of {where}, {first}", told(record))


def _results(run: RunDirectory) -> Iterator[Finding]:
    """Compare ``results.csv`` and ``results/``, where they are, with what the cells give; the run is left as it is."""
    with tempfile.TemporaryDirectory(prefix="diadbench-verify-") as place:
        copy = Path(place) / run.name
        ignored = shutil.ignore_patterns("maps", "gallery", "checkpoint", "results", "*.parquet", "*.npz", "report")
        shutil.copytree(run.path, copy, ignore=ignored)
        try:
            again = RunDirectory(copy).write_results()
            own = RunDirectory(copy).results()
        except UserError as error:
            told_of = str(error).replace(str(copy), str(run.path))
            yield Finding("results", f"can't be made from the cells ({told_of})")
            return
        yield from _table(run.path / "results.csv", again)
        if (run.path / "results").is_dir():
            shutil.rmtree(copy / "results")
            shutil.copytree(run.path / "results", copy / "results")
            if not RunDirectory(copy).results().equals(own):
                yield Finding("results", "results/ holds other figures than the cells; remove it, reports make it anew")


def _table(path: Path, again: Path) -> Iterator[Finding]:
    if not path.is_file():
        return
    left = [name for name in CSV_COLUMNS if name not in ("run", "flags")]
    try:
        tables = [pd.read_csv(each, dtype=str, keep_default_na=False)[left] for each in (path, again)]
    except (ValueError, KeyError) as error:
        yield Finding("results", f"results.csv can't be read ({error})")
        return
    if not tables[0].equals(tables[1]):
        yield Finding("results", "results.csv isn't what the cells give; `diadbench report` writes it anew")
