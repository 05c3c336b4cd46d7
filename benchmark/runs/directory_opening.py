"""Open a run directory for a plan: what it keeps of the grid, cells whose labels have changed, cells left out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path

from diadbench.benchmark.cells.provenance import host
from diadbench.benchmark.planning.kept_code import with_kept_code
from diadbench.benchmark.planning.plan import Plan
from diadbench.benchmark.planning.takeover import take_over
from diadbench.benchmark.runs.cell_writing import skip_cell
from diadbench.common.errors import UserError
from diadbench.common.files import write_json, write_text


def open_directory(plan: Plan) -> Plan:
    """Write ``grid.yaml``, ``plan.json`` and ``environment.json``, and move cells whose labels have changed.

    Returns the plan; a cell that could not be moved has to run.
    """
    path = plan.directory.path
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        text = plan.grid.to_yaml(path)
        if not (path / "grid.yaml").is_file() or (path / "grid.yaml").read_text(encoding="utf-8") != text:
            write_text(path / "grid.yaml", text)
        if plan.pending or not (path / "environment.json").is_file():
            about = {**host(), "seeds": plan.grid.seeds, "threads": plan.compute["threads"]}
            write_json(path / "environment.json", about)
        plan.directory.keep(plan.to_keep())
        plan = dataclasses.replace(plan, cells=with_kept_code(plan.cells, path))
        renamed = [planned for planned in plan.cells if planned.source is not None]
        left = take_over(renamed, path) if renamed else []
        for planned in plan.cells:
            if planned.missing:
                skip_cell(planned)
    again = {planned.cell.key: dataclasses.replace(planned, run=True, why="new", source=None) for planned in left}
    return dataclasses.replace(plan, cells=[again.get(planned.cell.key, planned) for planned in plan.cells])


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Report in one line that the run directory can't be written, since no cell can then end."""
    try:
        yield
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EROFS,
            errno.EACCES,
            errno.EPERM,
            errno.EIO,
            errno.ENOTDIR,
        ):
            raise
        raise UserError(
            f"run directory {path}: can't be written ({error.strerror}); mend that and the same command goes on, "
            "or choose another with --out"
        ) from error
