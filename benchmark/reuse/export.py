"""Export trained models of a run directory in formats that other programs read."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

from diadbench import methods
from diadbench.benchmark.cells.scratch import cell_origin, kept_model
from diadbench.benchmark.records.store import CellRecord, RunDirectory
from diadbench.benchmark.reuse.cell_code import method_of
from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.methods.features.origin import Origin, kept

#: Default output of an export.
DEFAULT_OUT = {"official": "{method}.ckpt", "diffusers": "{method}-diffusers"}


def export_model(method: str, source: Path, format: str, out: Path | None = None, part: str | None = None) -> Path:
    """Write a trained model for use elsewhere.

    Args:
        method: Name of the method; its class must have a static ``export(directory, format, out)``. If it has a fourth
            parameter ``origin``, it gets the description of the model's origin for the file.
        source: A run directory with one finished cell of the method, the directory of a cell, or that of a model.
        format: A format of the method; DiAD's are ``official`` and ``diffusers``.
        out: File or directory to write; ``diad.ckpt`` or ``diad-diffusers`` by default.
        part: Which model, where the cell has several (``one-per-class``: the class).

    Returns:
        The path that was written.

    Raises:
        UserError: A method that can't be exported, an unknown format, no or no single model there, or ``out`` is
            not given and there already.
    """
    write = getattr(methods.get_class(method), "export", None)
    if write is None:
        raise UserError(f"method {method!r} has no export; diad has")
    target = out or Path(DEFAULT_OUT.get(format, "{method}").format(method=method))
    if out is None and target.exists():
        raise UserError(f"{target}: exists already; name another place with --out")
    model, cell = _model(method, source, part)
    if cell is not None:
        write = method_of(cell)[0].export  # with the code that the cell was made with
    if "origin" in inspect.signature(write).parameters:
        write(model, format, target, origin=_origin(model, cell))
    else:
        write(model, format, target)
    return target


def _origin(model: Path, cell: CellRecord | None) -> Origin:
    """Return the origin kept with a model and the information of its cell, which alone has the notes on its data."""
    found = kept(model)
    if cell is None:
        return found
    data = [*cell.config.get("dataset_info", {}).get("flags", []), *cell.status.get("data_notes", [])]
    notes = tuple(dict.fromkeys([*data, *found.notes]))
    if found.method:
        return replace(found, notes=notes)
    return replace(cell_origin(cell.config), version="", notes=notes, extras=found.extras)  # by an older version


def _model(method: str, source: Path, part: str | None) -> tuple[Path, CellRecord | None]:
    if not source.is_dir():
        raise UserError(f"{source}: not a directory; expected a run, one of its cells, or a trained model")
    if (source / "grid.yaml").is_file():
        cell = _only_cell(method, source)
        return kept_model(cell.directory, part), cell
    if (source / "cell.yaml").is_file():
        _check_method(method, CellRecord(source))
        return kept_model(source, part), CellRecord(source)
    return source, None


def _only_cell(method: str, run: Path) -> CellRecord:
    """Return the one finished cell of the method. Raises UserError."""
    found = [cell for cell in RunDirectory(run).cells() if cell.state == "done" and _is_of(cell, method)]
    if not found:
        raise UserError(f"{run}: no finished cell of {method!r}")
    if len(found) > 1:
        names = some(cell.directory.relative_to(run) for cell in found)
        raise UserError(f"{run}: {len(found)} finished cells of {method!r}; give the directory of one: {names}")
    return found[0]


def _is_of(cell: CellRecord, method: str) -> bool:
    """Whether a cell is of a method, by the grid's name for it or by that of the copy in the run."""
    return method in (cell.config.get("method"), cell.config.get("method_source"))


def _check_method(method: str, cell: CellRecord) -> None:
    found = cell.config.get("method_source", cell.config.get("method"))
    if not _is_of(cell, method):
        raise UserError(f"{cell.directory}: a cell of {found!r}; expected one of {method!r}")
