"""Run one finished cell again exactly as before, and compare the two results."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from diadbench.benchmark.engines import make
from diadbench.benchmark.engines.base import Job
from diadbench.benchmark.engines.gpus import named_gpu
from diadbench.benchmark.planning.grids.paths import kept_in
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.cell_code import changed_code
from diadbench.common.errors import UserError
from diadbench.common.files import write_text
from diadbench.common.processes.interrupt import as_ctrl_c
from diadbench.common.wording import some


@dataclass(frozen=True)
class Rerun:
    """A cell that was run twice.

    Attributes:
        first: The cell.
        again: The cell of the repetition, in a run directory of its own.
    """

    first: CellRecord
    again: CellRecord

    def differences(self) -> pd.DataFrame:
        """Return one row per class and metric: ``class, scope, metric, first, again, difference``; NaN: undefined."""
        keys = ["class", "scope", "metric"]
        tables = [pd.DataFrame(cell.metrics())[[*keys, "value"]] for cell in (self.first, self.again)]
        both = tables[0].merge(tables[1], on=keys, how="outer", sort=False, suffixes=("_first", "_again"))
        numbers = both[["value_first", "value_again"]].replace("", None).astype(float)
        found = both[keys].assign(first=numbers["value_first"], again=numbers["value_again"])
        return found.assign(difference=found["again"] - found["first"])

    def same(self) -> bool:
        """Whether all figures are exactly equal."""
        table = self.differences()
        return bool(((table["first"] == table["again"]) | (table["first"].isna() & table["again"].isna())).all())

    def text(self) -> str:
        """Return a line for each metric: both means over classes, and the largest difference of a class."""
        table = self.differences()
        lines = [f"{'metric':<12}{'first':>12}{'again':>12}{'difference':>14}  largest of a class"]
        for metric, rows in table.groupby("metric", sort=False):
            mean, classes = rows[rows["scope"] == "mean"], rows[rows["scope"] == "class"]
            first, again, difference = mean[["first", "again", "difference"]].to_numpy()[0]
            worst = classes["difference"].abs().max()
            lines.append(f"{metric:<12}{first:>12.6f}{again:>12.6f}{difference:>14.3g}  {worst:.3g}")
        return "\n".join([*lines, "every figure is the same" if self.same() else "figures differ"])


def rerun_cell(cell: Path, out: Path | None = None, root: Path | None = None) -> Rerun:
    """Run a finished cell once more: the same code, options, seed, threads and data.

    Args:
        cell: Directory of a cell that is done.
        out: Run directory of the repetition; below ``RUN/reruns`` by default. It must not exist, and is removed again
            if the repetition fails.
        root: Directory of the data on this machine, if it isn't where the cell found it.

    Raises:
        UserError: No such cell, its code or data have changed, ``out`` exists, or the repetition failed.
    """
    record = CellRecord(cell.absolute())
    if record.state != "done":
        raise UserError(
            f"{cell}: expected a cell that is done, RUN/cells/DATASET/METHOD/SETTING/seedN; it is {record.state}"
        )
    config = dict(record.config)
    where = kept_in(record.run)
    config |= {kind: where("class", str(config[kind]), kind) for kind in ("method", "dataset")}
    changed = changed_code(record, config["method"])
    if changed:
        raise UserError(f"{cell}: the code of {config['method']} is no longer that of the cell ({some(changed)})")
    grid = RunDirectory(record.run).path / "grid.yaml"
    target = RunDirectory(out or _free(record), must_exist=False)
    if target.path.exists():
        raise UserError(f"{target.path}: exists; choose another directory with --out")
    again = target.cell(record.dataset, record.method, record.setting, record.seed)
    config |= {"run_directory": str(target.path.absolute()), "root": str(root.absolute()) if root else config["root"]}
    with as_ctrl_c(), _kept_if_done(target.path):
        again.directory.mkdir(parents=True)
        shutil.copyfile(grid, target.path / "grid.yaml")
        write_text(again.directory / "cell.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        _run(again)
        return _checked(Rerun(record, CellRecord(again.directory)))


@contextlib.contextmanager
def _kept_if_done(run: Path) -> Iterator[None]:
    """Remove a run directory, and empty folders that were made for it, if what is done in it fails or is ended."""
    above = next(folder for folder in run.absolute().parents if folder.exists())
    try:
        yield
    except BaseException:
        shutil.rmtree(run, ignore_errors=True)
        with contextlib.suppress(OSError):  # another repetition is beside it
            for folder in run.absolute().parents:
                if folder == above:
                    break
                folder.rmdir()
        raise


def _free(record: CellRecord) -> Path:
    number = 1
    while (place := record.run / "reruns" / f"{record.identity[:8]}-{number}").exists():
        number += 1
    return place


def _run(cell: CellRecord) -> None:
    """Run a cell in a separate process, as a runner does. Raises UserError if it couldn't write its own status."""
    config = cell.config
    job = Job(cell.directory.absolute(), threads=config.get("threads") or 0, named=named_gpu(config["device"]))
    with make("local", jobs=1) as engine:
        engine.submit(job)
        while not (ended := engine.poll()):
            time.sleep(0.05)
    if ended[0].state != "ended":
        raise UserError(f"the repetition in {cell.directory} ended as {ended[0].state}: {ended[0].reason}")


def _checked(found: Rerun) -> Rerun:
    status = found.again.status
    if status["state"] != "done":
        traceback = str(status.get("traceback") or "")  # its files are removed; --debug prints what they said
        raise UserError(
            f"{found.first.directory}: its repetition ended as {status['state']}: {status.get('reason', '')}"
        ) from (RuntimeError(traceback) if traceback else None)
    if status["fingerprint"] != found.first.status["fingerprint"]:
        raise UserError(f"{found.first.directory}: the data are not those that the cell was run on")
    return found
