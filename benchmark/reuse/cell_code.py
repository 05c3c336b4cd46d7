"""Load the method of a finished cell from the code that it was run with, or report that this code no longer exists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench import methods
from diadbench.benchmark.cells.provenance import pick_device, seed_everything
from diadbench.benchmark.planning.grids.paths import kept_in
from diadbench.benchmark.planning.resolving.resolve import code_behind
from diadbench.benchmark.records.store import CellRecord
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir
from diadbench.common.wording import some
from diadbench.methods.base import RunContext

if TYPE_CHECKING:
    from diadbench.methods.base import Method


def load_model(
    record: CellRecord, kept: Path, options: Mapping[str, Any] | None = None
) -> tuple[Method, RunContext, list[str]]:
    """Load a trained model of a cell on the cell's device.

    Args:
        record: The cell.
        kept: Directory of the model.
        options: All options of the method; by default the cell's own.

    Returns:
        The method, its run with the notes of loading, and notes on another version of the method.

    Raises:
        UserError: The code behind the method has changed since the cell was run.
    """
    config = record.config
    seed_everything(config["seed"], config["method"], tf32=config.get("tf32", True))
    run = RunContext(
        seed=config["seed"],
        device=pick_device(config["device"]),
        image_size=tuple(config["image_size"]),
        class_names=(),
        directory=record.directory / "scratch",
        cache_dir=cache_dir(),
    )
    cls, versions = method_of(record)
    method: Method = cls(**(config["method_options"] if options is None else options))
    method.load(kept, run)
    return method, run, versions


def method_of(record: CellRecord) -> tuple[type[Any], list[str]]:
    """Return the class of a cell's method, and notes if its version differs from that of the cell.

    Raises:
        UserError: The code behind the class has changed since the cell was run.
    """
    name = kept_in(record.run)("class", str(record.config["method"]), "method")
    changed = changed_code(record, name)
    if changed:
        raise UserError(
            f"{record.directory}: the code of {name} is no longer that of the cell (changed: {some(changed)}); "
            "restore it, or run the cell again"
        )
    found = methods.get_class(name)
    return found, _versions(record, found)


def changed_code(record: CellRecord, name: str) -> list[str]:
    """Return the modules behind a class whose code has changed since the cell was run.

    For cells of earlier versions, which didn't keep their code's digests, nothing is returned.
    """
    kept = (record.decides.get("code") or {}) if not record.decides.get("earlier_version") else {}
    now = code_behind(name).digests() if kept else {}
    return [module for module, digest in now.items() if module in kept and kept[module] != digest]


def _versions(record: CellRecord, found: type[Any]) -> list[str]:
    before = record.decides.get("version")
    now = getattr(getattr(found, "info", None), "version", None)
    if before is None or now is None or before == now:
        return []
    return [f"the cell was made with version {before} of the method, this is version {now}"]
