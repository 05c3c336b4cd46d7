"""A grid: methods x datasets x settings x seeds, read from YAML and checked before anything runs.

A grid file::

    methods:
      patchcore:                       # a registered name, or the name of a file in configs/methods
      mine:
        method: my_method.py:MyMethod  # a file, an entry point, anomalib:Padim, ...
        options: {width: 64}           # keyword arguments of the method
        datasets: [toy]                # on these only
        by_dataset: {toy: {width: 32}} # other options on one dataset
    datasets:
      toy: {options: {train: 50}}      # keyword arguments of the dataset
      mvtec: {root: /data/mvtec}
    seeds: [0, 1, 2]
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from diadbench.benchmark.cells.loggers import LOGGERS
from diadbench.benchmark.planning.paths import (
    absolute,
    entry_with_paths,
    kept_in,
    over_the_file,
    recalled,
    relative,
    with_paths,
)
from diadbench.benchmark.records.cell_labels import FEW_SHOT, cell_keys, cell_settings, shots_of
from diadbench.common.errors import UserError, unknown_name
from diadbench.common.show import Show
from diadbench.common.utf8 import read_user_text
from diadbench.common.values.typed import check, hints_of, plain, spelled
from diadbench.common.values.yaml_values import dump, load, load_pairs

if TYPE_CHECKING:
    from diadbench.datasets.decoding.train_subset import TrainSubset

#: Key of an entry whose options are complete, so that the preset of its name is not applied.
RESOLVED = "resolved"
Setting = Literal["multi-class", "one-per-class", "few-shot"]
KeepMaps = Literal["none", "float16", "float32"]


@dataclass(frozen=True)
class MethodSpec:
    """A method of the grid: its label, the method itself, its options as written, and the datasets it is run on.

    ``by_dataset`` holds options that differ for a dataset, by the dataset's label; budgets often differ.
    """

    label: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    image_size: int | list[int] | None = None
    time_limit: str | float | None = None
    datasets: list[str] | None = None
    by_dataset: dict[str, dict[str, Any]] = field(default_factory=dict)

    def for_dataset(self, label: str) -> MethodSpec:
        """Return this method with the options that it has on a dataset."""
        if label not in self.by_dataset:
            return self
        return dataclasses.replace(self, options={**self.options, **self.by_dataset[label]}, by_dataset={})


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset of the grid: its label, the dataset itself, its root, and its options as written.

    ``train_fraction`` and ``contamination`` change the set of training images, see
    :class:`~diadbench.datasets.decoding.train_subset.TrainSubset`.
    """

    label: str
    dataset: str
    root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    train_fraction: float | None = None
    contamination: float | None = None


@dataclass(frozen=True)
class Cell:
    """One point of the grid: one method, dataset, setting and seed. Cells run, fail and resume independently."""

    dataset: DatasetSpec
    method: MethodSpec
    setting: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Return the labels that identify the cell in a run directory."""
        return self.dataset.label, self.method.label, self.setting, self.seed

    def __str__(self) -> str:
        return f"{self.dataset.label} / {self.method.label} / {self.setting} / seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """A checked grid.

    Attributes:
        name: Name of the run directory below ``runs/``.
        methods: Methods by label.
        datasets: Datasets by label.
        settings: ``multi-class`` (one model for all classes), ``one-per-class``, ``few-shot`` (one model for all
            classes, trained on ``shots`` images of each).
        shots: Training images a class of the setting ``few-shot``; each number is a setting of its own.
        data_seed: Decides which images few-shot, ``train_fraction`` and ``contamination`` draw.
        seeds: Seeds of the methods.
        image_size: Side in pixels, or ``[H, W]``, of all images; a method may have its own.
        evaluation_size: Side in pixels, or ``[H, W]``, at which every method is evaluated: maps are resized to it,
            masks come from their native files at it. ``None``: the grid's ``image_size``, whatever a method's own is.
        resize: Resize filter of images: ``bilinear`` or ``bicubic`` (antialiased).
        protocol: Metric conventions.
        batch_size: Test images a batch.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``; ``cuda:1``: the second of the GPUs that
            ``CUDA_VISIBLE_DEVICES`` lets this process see, for all cells (local engine only).
        devices: Devices for one cell, for methods that can use several.
        tf32: Let GPUs compute convolutions and matrix products of float32 numbers in TF32 (about three digits,
            several times as fast); ``false``: full float32, as on a CPU. A note says which.
        threads: CPU threads of a cell. ``None``: ``OMP_NUM_THREADS`` where it is set, else 1; whatever the number of
            jobs, and decided once for a run directory. On a GPU ``None`` shares the cores out among the jobs. Numbers
            are the same to the last bit only for the same number of threads.
        first: Methods whose cells run before all others, in this order, so that a run's page fills early. All others
            run the longest first, which ends a grid early.
        jobs: Cells that run at once; ``None``: one, or as many as the GPUs suffice for.
        keep_maps: Keep all anomaly maps, as ``float16`` or ``float32``.
        keep_checkpoints: Keep trained models (``diadbench predict`` needs them).
        data_root: Directory below which datasets are looked for by their folder names.
        time_limit: For a cell: seconds, or ``30m``, ``24h``.
        memory_limit: For a cell's memory without shared pages: ``8GB``. Above it the cell ends as ``oom``.
        retry_oom: Run a cell that was out of memory once more: training batches are divided in two and their gradients
            summed, test batches are halved where the method says that its result doesn't depend on them.
        engine: ``local``, ``ray`` or ``slurm``.
        engine_options: Keyword arguments of the engine.
        logger: Training loggers: ``csv``, ``tensorboard``, ``mlflow``, ``wandb``.
        notify: A shell command that is run when the first cell fails and at the end, for at most 60 s
            (``DIADBENCH_EVENT``, ``DIADBENCH_RUN``).
        note: A sentence for the report.
        show: How reports show the results: :class:`~diadbench.common.show.Show`. It decides no result.
        limit: For a quick look: at most so many training and test samples of each class, from 2 on; every table says
            so. ``None``: all.
    """

    name: str
    methods: dict[str, MethodSpec]
    datasets: dict[str, DatasetSpec]
    settings: list[Setting] = field(default_factory=lambda: ["multi-class"])
    seeds: list[int] = field(default_factory=lambda: [0])
    shots: list[int] = field(default_factory=list)
    data_seed: int = 0
    image_size: int | list[int] = 256
    evaluation_size: int | list[int] | None = None
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    protocol: str = "exact"
    batch_size: int = 8
    device: str = "auto"
    devices: int = 1
    tf32: bool = True
    threads: int | None = None
    first: list[str] = field(default_factory=list)
    jobs: int | None = None
    keep_maps: KeepMaps = "none"
    keep_checkpoints: bool = True
    data_root: str | None = None
    time_limit: str | float | None = None
    memory_limit: str | float | None = None
    retry_oom: bool = False
    engine: Literal["local", "ray", "slurm"] = "local"
    engine_options: dict[str, Any] = field(default_factory=dict)
    logger: list[str] = field(default_factory=lambda: ["csv"])
    notify: str | None = None
    note: str = ""
    show: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None

    def cells(self) -> Iterator[Cell]:
        """Yield all cells, dataset by dataset. Each method has the options for the cell's dataset."""
        only = {label: method.datasets for label, method in self.methods.items()}
        settings = cell_settings(self.settings, self.shots)
        for dataset, method, setting, seed in cell_keys(self.datasets, only, settings, self.seeds):
            yield Cell(self.datasets[dataset], self.methods[method].for_dataset(dataset), setting, seed)

    def subset_for(self, cell: Cell) -> TrainSubset | None:
        """Return the choice of training images of a cell; ``None``: all. Raises UserError for values out of range."""
        from diadbench.datasets.decoding.train_subset import TrainSubset  # imports pandas, which lists don't need

        shots, dataset = shots_of(cell.setting), cell.dataset
        if shots is None and dataset.train_fraction is None and dataset.contamination is None:
            return None
        try:
            return TrainSubset(shots, dataset.train_fraction, dataset.contamination, self.data_seed)
        except UserError as error:
            raise UserError(f"datasets.{dataset.label}: {error}") from error

    def size_for(self, method: MethodSpec) -> tuple[int, int]:
        """Return ``(H, W)`` at which a method is run."""
        return _pair(method.image_size if method.image_size is not None else self.image_size)

    @property
    def evaluated_at(self) -> tuple[int, int]:
        """Return ``(H, W)`` of the maps and masks from which the metrics of all methods are computed."""
        return _pair(self.evaluation_size if self.evaluation_size is not None else self.image_size)

    def to_yaml(self, run: Path | None = None) -> str:
        """Return the resolved grid as YAML; reading it returns an equal grid.

        Args:
            run: The run directory that the text is written into: paths inside it are written relative to it.
        """
        values = dataclasses.asdict(self)
        if run is not None:
            values = with_paths(values, relative(run))
        for key in ("show", "limit", "first"):
            if not values[key]:
                del values[key]
        for group, key in (("methods", "method"), ("datasets", "dataset")):
            values[group] = {label: _plain_entry(group, key, spec) for label, spec in values[group].items()}
        return dump(values)


def _pair(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def absolute_paths(grid: Grid) -> Grid:
    """Return a grid with absolute paths; relative ones are resolved against the working directory."""
    change = absolute(Path.cwd())

    def changed(spec: Any, where: str) -> Any:
        return dataclasses.replace(spec, **entry_with_paths(vars(spec), change, where))

    return dataclasses.replace(
        grid,
        data_root=None if grid.data_root is None else change("root", grid.data_root, "data_root"),
        methods={label: changed(spec, f"methods.{label}") for label, spec in grid.methods.items()},
        datasets={label: changed(spec, f"datasets.{label}") for label, spec in grid.datasets.items()},
    )


def _plain_entry(group: str, key: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a method's or dataset's entry as plain values, marked if a preset has the same name."""
    found = {name: value for name, value in spec.items() if name != "label" and value not in (None, {})}
    return found if _preset(group, spec[key]) is None else {**found, RESOLVED: True}


# -- reading ------------------------------------------------------------------------------------------------


def grid_names() -> dict[str, str]:
    """Return ``{name: note}`` of the packaged grids."""
    found = {}
    for path in sorted(_configs("grids").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".yaml"):
            found[path.name.removesuffix(".yaml")] = str(load(path.read_text(encoding="utf-8")).get("note", ""))
    return found


def load_grid(source: str | Path, overrides: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid: a packaged name (``demo``), a YAML file, or a run directory (its ``grid.yaml``).

    Relative paths in a file are relative to that file, those of overrides to the working directory. The grid has
    absolute ones.

    Args:
        source: Name or path.
        overrides: Dotted keys and values laid over the file: ``{"seeds": [0, 1], "methods.patchcore.options.k": 5}``.

    Raises:
        UserError: No such grid, broken YAML, unknown keys or names, values of a wrong type, a path that is not there
            but in the working directory.
    """
    name, text, where, base = _read(str(source))
    try:
        raw = load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{where}: expected keys and values at the top, found {type(raw).__name__}")
    if (base / "cells").is_dir():
        raw = recalled(raw, base)
    return laid_over(
        {"name": name, **with_paths(with_paths(raw, absolute(base)), kept_in(base))}, overrides or {}, where
    )


def laid_over(raw: Mapping[str, Any], overrides: Mapping[str, Any], where: str = "grid") -> Grid:
    """Check a grid given as plain values after dotted keys are applied; paths are relative to the working directory.

    Raises UserError as :func:`load_grid` does.
    """
    values = copy.deepcopy(dict(raw))
    for key, value in overrides.items():
        _lay(values, key, over_the_file(key, value, _names(key)))
    return parse_grid(values, where)


def with_overrides(grid: Grid | Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Grid:
    """Return a grid, given as plain values or checked already, with dotted keys laid over it as :func:`load_grid` does.

    Raises:
        UserError: As :func:`load_grid` does.
    """
    if isinstance(grid, Grid) and not overrides:
        return grid
    raw = load(grid.to_yaml()) if isinstance(grid, Grid) else {"name": "run", **copy.deepcopy(dict(grid))}
    for key, value in (overrides or {}).items():
        _lay(raw, key, over_the_file(key, value, _names(key)))
    return parse_grid(raw)


def parse_grid(raw: Mapping[str, Any], where: str = "grid") -> Grid:
    """Check a grid given as plain values; relative paths are relative to the working directory.

    Raises UserError as :func:`load_grid` does.
    """
    known = [entry.name for entry in dataclasses.fields(Grid)]
    _check_keys(raw, known, where)
    values = with_paths(raw, absolute(Path.cwd()))
    for group, read in (("methods", _method), ("datasets", _dataset)):
        entries = values.get(group)
        if isinstance(entries, list):
            entries = dict.fromkeys(entries)
        if not isinstance(entries, dict) or not entries:
            raise UserError(f"{where}: {group}: expected at least one, as a mapping or a list; found {entries!r}")
        values[group] = {str(label): read(str(label), entry, where) for label, entry in entries.items()}
    values["show"] = spelled(Show, values.get("show", {}))
    Show.read(values["show"], f"{where}: show")
    settings = {key: value for key, value in values.items() if key not in ("methods", "datasets")}
    grid = Grid(**{**values, **check(hints_of(Grid), settings, where)})
    _check_values(grid, where)
    return grid


def _check_values(grid: Grid, where: str) -> None:
    for name in ("settings", "seeds"):
        entries = getattr(grid, name)
        if not entries or len(set(entries)) != len(entries):
            raise UserError(f"{where}: {name}: expected at least one and none twice, found {entries!r}")
    if (FEW_SHOT in grid.settings) != bool(grid.shots):
        raise UserError(f"{where}: shots: setting few-shot needs numbers (shots: [1, 2, 4, 8]), and they need it")
    for count in grid.shots:
        _check_positive(count, f"{where}: shots")
    if len(set(grid.shots)) != len(grid.shots) or grid.data_seed < 0:
        raise UserError(f"{where}: expected shots without repeats and a data_seed of 0 or more")
    for seed in grid.seeds:
        if not 0 <= seed < 2**32:  # NumPy accepts no other seeds.
            raise UserError(f"{where}: seeds: expected whole numbers from 0 to {2**32 - 1}, found {seed!r}")
    for key in ("image_size", "evaluation_size", "batch_size", "devices", "threads", "jobs"):
        _check_positive(getattr(grid, key), f"{where}: {key}")
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


def _check_positive(value: Any, where: str) -> None:
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


def _read(source: str) -> tuple[str, str, str, Path]:
    """Return a grid's name, its text, its name in messages, and the directory that its paths are relative to."""
    path = Path(source).expanduser()
    if path.is_dir() and (path / "grid.yaml").is_file():
        return (
            path.resolve().name,
            (path / "grid.yaml").read_text(encoding="utf-8"),
            str(path / "grid.yaml"),
            path.absolute(),
        )
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: no such grid file; `diadbench grids list` shows the packaged ones")
        return path.stem, read_user_text(path), str(path), path.absolute().parent
    packaged = _configs("grids") / f"{source}.yaml"
    if "/" in source or not packaged.is_file():
        raise unknown_name("grid", source, grid_names())
    return source, packaged.read_text(encoding="utf-8"), f"grid {source!r}", Path.cwd()


def _configs(folder: str) -> Any:
    return importlib.resources.files("diadbench.configs") / folder


def _preset(folder: str, name: str) -> dict[str, Any] | None:
    path = _configs(folder) / f"{name}.yaml"
    return load(path.read_text(encoding="utf-8")) if re.fullmatch(r"[\w.+-]+", name) and path.is_file() else None


def preset_names(folder: str) -> list[str]:
    """Return the names of the packaged presets in ``configs/<folder>`` (``methods`` or ``datasets``)."""
    return sorted(path.name.removesuffix(".yaml") for path in _configs(folder).iterdir() if path.name.endswith(".yaml"))


def method_presets(*, with_own: bool = False) -> dict[str, dict[str, Any]]:
    """Return the packaged presets of methods by name: ``method``, ``options`` and the like.

    Args:
        with_own: Include presets that have the same name as their method.
    """
    found = {name: {"method": name, **(_preset("methods", name) or {})} for name in preset_names("methods")}
    return {name: values for name, values in found.items() if with_own or values["method"] != name}


def _method(label: str, entry: Any, where: str) -> MethodSpec:
    known = ["method", "options", "image_size", "time_limit", "datasets", "by_dataset", RESOLVED]
    values = _entry(f"methods.{label}", entry, known, where)
    if "by_dataset" in values:
        key = f"methods.{label}.by_dataset"
        given = _mapping(key, values["by_dataset"], where)
        values["by_dataset"] = {str(name): _mapping(f"{key}.{name}", options, where) for name, options in given.items()}
    return MethodSpec(
        label, **_checked(MethodSpec, f"methods.{label}.", _with_preset("method", "methods", label, values), where)
    )


def _dataset(label: str, entry: Any, where: str) -> DatasetSpec:
    values = _entry(
        f"datasets.{label}", entry, ["dataset", "root", "options", "train_fraction", "contamination", RESOLVED], where
    )
    return DatasetSpec(
        label, **_checked(DatasetSpec, f"datasets.{label}.", _with_preset("dataset", "datasets", label, values), where)
    )


def _checked(spec: type, prefix: str, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check an entry's values against its type hints. Options are checked later, when their class is known."""
    _check_positive(plain(values.get("image_size")), f"{where}: {prefix}image_size")
    typed = {key: value for key, value in values.items() if key not in ("options", "by_dataset")}
    return {**values, **check(hints_of(spec), typed, where, prefix)}


def _with_preset(key: str, folder: str, label: str, values: dict[str, Any]) -> dict[str, Any]:
    """Apply an entry's values over the packaged preset that it names, if any."""
    name = str(values.pop(key, None) or label)
    preset = None if values.pop(RESOLVED, False) else _preset(folder, name)
    if preset is None:
        return {key: name, **values}
    options = {**preset.get("options", {}), **values.pop("options", {})}
    return {key: name, **preset, **values, "options": options}


def _entry(key: str, entry: Any, known: list[str], where: str) -> dict[str, Any]:
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise UserError(f"{where}: {key}: expected keys ({', '.join(known)}), found {entry!r}")
    _check_keys(entry, known, f"{where}: {key}")
    options = _mapping(f"{key}.options", entry.get("options"), where)
    return {name: value for name, value in {**entry, "options": options}.items() if value is not None}


def _mapping(key: str, value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{where}: {key}: expected keys and values, found {value!r}")
    return value or {}


def _check_keys(entry: Mapping[str, Any], known: list[str], where: str) -> None:
    for key in entry:
        if key not in known:
            raise unknown_name("key", str(key), known, where=where)


def _names(key: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', key)]


def _lay(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key. A name that contains dots can be quoted: ``methods."a.b".options.k``."""
    names = _names(key)
    place = raw
    for name in names[:-1]:
        if isinstance(place.get(name), list):
            place[name] = dict.fromkeys(place[name])
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            raise UserError(f"override {key}: {name} has no keys below it, it is {place!r}")
    place[names[-1]] = value


def parse_overrides(texts: list[str]) -> dict[str, Any]:
    """Turn ``["seeds=[0,1]", "image_size=128"]`` into keys and YAML values. Raises UserError."""
    return load_pairs(texts, "override", "seeds=[0,1]")


def parse_time(value: str | float | None, where: str = "time") -> float | None:
    """Return seconds from ``90``, ``"30m"``, ``"1.5h"``, ``"2d"``. Raises UserError."""
    return _with_unit(value, {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}, where, "30m or 24h")


def parse_memory(value: str | float | None, where: str = "memory") -> float | None:
    """Return bytes from ``"8GB"``, ``"500MB"``, ``"16GiB"`` or a plain number. Raises UserError."""
    units = {"": 1.0, "b": 1.0}
    for power, letter in enumerate("kmgt", start=1):
        units |= {letter: 1000.0**power, letter + "b": 1000.0**power, letter + "ib": 1024.0**power}
    return _with_unit(value, units, where, "8GB or 16GiB")


def _with_unit(value: str | float | None, units: Mapping[str, float], where: str, example: str) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(value))
    try:
        assert match is not None
        number = float(match[1]) * units[match[2].lower()]
    except (AssertionError, KeyError, ValueError):
        raise UserError(f"{where}: expected something like {example}, found {value!r}") from None
    if number <= 0:
        raise UserError(f"{where}: expected something above zero, found {value!r}")
    return number
