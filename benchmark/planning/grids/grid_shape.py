"""The shape of a grid: its methods, datasets and settings, and the cells that they span."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from diadbench.benchmark.planning.grids.paths import absolute, entry_with_paths, relative, with_paths
from diadbench.benchmark.planning.grids.presets import read_preset
from diadbench.benchmark.records.cell_labels import cell_keys, cell_settings, shots_of
from diadbench.common.errors import UserError
from diadbench.common.values.yaml_values import dump

if TYPE_CHECKING:
    from diadbench.datasets.decoding.train_subset import TrainSubset

#: Test images a batch where a grid doesn't say.
TEST_BATCH = 8
#: Key of an entry whose options are complete, so that the read_preset of its name is not applied.
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
        batch_size: Test images a batch. ``None``: 8; on a GPU, for methods whose result doesn't depend on it, as many
            as its memory takes (``extras.test_batch`` says how many).
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
        thresholds: Make the tables of thresholds and of all classes as one set. For them a cell scores normal images
            before the test: all validation images, or at most 32 training images of each class. ``false``: neither,
            unless a metric of the protocol needs a threshold. It decides no other figure.
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
    batch_size: int | None = None
    device: str = "auto"
    devices: int = 1
    tf32: bool = True
    threads: int | None = None
    first: list[str] = field(default_factory=list)
    jobs: int | None = None
    keep_maps: KeepMaps = "none"
    keep_checkpoints: bool = True
    thresholds: bool = True
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

    @property
    def test_batch(self) -> int:
        """Return the number of test images a batch, before a GPU's memory is looked at."""
        return self.batch_size or TEST_BATCH

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
    """Return a method's or dataset's entry as plain values, marked if a read_preset has the same name."""
    found = {name: value for name, value in spec.items() if name != "label" and value not in (None, {})}
    return found if read_preset(group, spec[key]) is None else {**found, RESOLVED: True}
