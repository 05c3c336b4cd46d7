"""Check the values of a grid that its types don't tell: ranges, repeats, labels, devices."""

from __future__ import annotations

import re
from typing import Any

from diadbench.benchmark.cells.loggers import LOGGERS
from diadbench.benchmark.planning.grids.grid_shape import Grid
from diadbench.benchmark.planning.grids.units import parse_memory, parse_time
from diadbench.benchmark.records.cell_labels import FEW_SHOT
from diadbench.benchmark.records.cell_record import folder_of
from diadbench.common.errors import UserError, unknown_name

#: Characters of a folder's name, at most. That is what file systems take.
LONGEST = 255


def check_values(grid: Grid, where: str) -> None:
    """Refuse a grid with a value out of range, a repeat, or a label that it doesn't have. Raises UserError."""
    for kind, labels in (("methods", grid.methods), ("datasets", grid.datasets)):
        for label in labels:
            check_label(label, f"{where}: {kind}")
    for name in ("settings", "seeds"):
        entries = getattr(grid, name)
        if not entries or len(set(entries)) != len(entries):
            raise UserError(f"{where}: {name}: expected at least one and none twice, found {entries!r}")
    if (FEW_SHOT in grid.settings) != bool(grid.shots):
        raise UserError(f"{where}: shots: setting few-shot needs numbers (shots: [1, 2, 4, 8]), and they need it")
    for count in grid.shots:
        check_positive(count, f"{where}: shots")
    if len(set(grid.shots)) != len(grid.shots) or grid.data_seed < 0:
        raise UserError(f"{where}: expected shots without repeats and a data_seed of 0 or more")
    for seed in grid.seeds:
        if not 0 <= seed < 2**32:  # NumPy accepts no other seeds.
            raise UserError(f"{where}: seeds: expected whole numbers from 0 to {2**32 - 1}, found {seed!r}")
    for key in ("image_size", "evaluation_size", "batch_size", "devices", "threads", "jobs"):
        check_positive(getattr(grid, key), f"{where}: {key}")
    if grid.limit is not None and grid.limit < 2:
        raise UserError(f"{where}: limit: expected at least 2, a normal and an anomalous image, found {grid.limit!r}")
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", grid.device):
        raise UserError(f"{where}: device: expected auto, cpu, cuda or cuda:1, found {grid.device!r}")
    if ":" in grid.device:
        _check_named_device(grid, where)
    for kind in grid.logger:
        if kind not in LOGGERS:
            raise unknown_name("logger", kind, LOGGERS, where=where)
    if "jobs" in grid.engine_options:
        raise UserError(f"{where}: engine_options.jobs: write it as jobs, or --jobs")
    parse_time(grid.time_limit, f"{where}: time_limit")
    parse_memory(grid.memory_limit, f"{where}: memory_limit")
    for method in grid.methods.values():
        parse_time(method.time_limit, f"{where}: methods.{method.label}.time_limit")
        if method.datasets is not None:
            _check_labels(method.datasets, grid, f"{where}: methods.{method.label}.datasets")
        if method.by_dataset:
            _check_labels([*method.by_dataset], grid, f"{where}: methods.{method.label}.by_dataset")
    for label in grid.first:
        if label not in grid.methods:
            raise unknown_name("method", str(label), grid.methods, where=f"{where}: first")


def _check_named_device(grid: Grid, where: str) -> None:
    """Refuse ``cuda:1`` if it can't mean the second GPU that this process sees."""
    kind = grid.device.partition(":")[0]
    if grid.engine != "local":
        reason = f"engine {grid.engine} gives each cell its GPUs, so it can't name one"
        raise UserError(f"{where}: device: {grid.device}: {reason}; write {kind}")
    if grid.devices > 1:
        raise UserError(f"{where}: device: {grid.device} is one device, devices: {grid.devices} are several")


def check_label(label: str, where: str) -> None:
    """Refuse a label that no folder of cells can have. Raises UserError."""
    if not label.strip():
        raise UserError(f"{where}: expected a name as a label, found {label!r}")
    try:
        length = len(folder_of(label))
    except UnicodeEncodeError:
        raise UserError(f"{where}: the label {label!r} holds half of a character; write the whole one") from None
    if length > LONGEST:
        raise UserError(
            f"{where}: the label {label[:20]}... takes {length} characters in a folder's name, {LONGEST} are the most; "
            "a letter that is not ASCII takes 3 to 12"
        )


def check_positive(value: Any, where: str) -> None:
    """Refuse values other than a positive whole number, a pair of them (height and width), or ``None``."""
    entries = value if isinstance(value, list) else [] if value is None else [value]
    if any(type(entry) is not int or entry < 1 for entry in entries) or (isinstance(value, list) and len(value) != 2):
        pair = ", or [height, width]" if where.endswith(("image_size", "evaluation_size")) else ""
        raise UserError(f"{where}: expected a positive whole number{pair}, found {value!r}")


def _check_labels(labels: list[str], grid: Grid, where: str) -> None:
    if not labels:
        raise UserError(f"{where}: expected a list of the grid's datasets, found {labels!r}")
    for label in labels:
        if label not in grid.datasets:
            raise unknown_name("dataset", str(label), grid.datasets, where=where)
