"""The steps of ``diadbench diad``: the method's own stages, which exchange directories.

``OUT/autoencoder``, ``OUT/start`` and ``OUT/model`` hold the networks after each step (``model.safetensors``,
``model.json``), ``OUT/scratch`` what a killed training needs, ``OUT/test`` the results.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from diadbench import datasets
from diadbench.benchmark.cells.determinism import gpu_notes
from diadbench.benchmark.cells.provenance import pick_device, seed_everything
from diadbench.benchmark.cells.scoring.evaluating import evaluate_batch, make_evaluator
from diadbench.benchmark.cells.scratch import kept_model
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.planning.grid import parse_grid, parse_overrides
from diadbench.benchmark.planning.resolving.resolve import checked_options
from diadbench.benchmark.steps.diad_pictures import ProgressCall, paint_denoising, paint_images, through
from diadbench.benchmark.steps.explained_images import explained, kept_predictions
from diadbench.common.errors import UserError
from diadbench.common.files import cache_dir, write_json, write_with
from diadbench.datasets.base import Dataset
from diadbench.datasets.decoding.data import TestData, TrainData
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.methods.base import RunContext, no_progress
from diadbench.methods.diad import checkpoints as weights
from diadbench.methods.diad.drawing import figures
from diadbench.methods.diad.method import DiAD
from diadbench.methods.features.origin import Origin, add, keep, kept, notes_of
from diadbench.version import __version__

DEFAULT_SIZE = (256, 256)
#: Number of training images that show the effect of stage 1, spread over all classes.
SHOWN = 8


@dataclass(frozen=True)
class Made:
    """The output of a step.

    Attributes:
        what: Name of the step, or ``results``.
        path: Path of the output.
        notes: Notes that must accompany the output.
        table: Means over classes, one row a metric, where the step computes metrics.
    """

    what: str
    path: Path
    notes: Sequence[str]
    table: pd.DataFrame | None = None


class Steps:
    """Run one DiAD in a directory, step by step.

    Args:
        out: The directory.
        config: Name of a preset of the method.
        options: Options laid over the preset, as ``NAME=VALUE``.
        seed: Decides everything random.
        device: ``auto``, ``cpu``, ``cuda``.
        progress: Called as ``progress(done, total, what)``.

    Raises:
        UserError: Unknown preset or option.
    """

    def __init__(
        self, out: str, config: str, options: list[str], seed: int, device: str, progress: ProgressCall = no_progress
    ) -> None:
        self._tell = progress
        self.out, self.seed, self.device = Path(out).expanduser(), seed, pick_device(device)
        entry = {"options": parse_overrides(options)}
        spec = parse_grid({"name": "diad", "methods": {config: entry}, "datasets": {"toy": {}}}, "diad").methods[config]
        if spec.method != "diad":
            raise UserError(f"--config {config}: a preset of {spec.method}; expected one of DiAD's, such as diad-tiny")
        self.data_notes: list[str] = []
        self.dataset, self.fingerprint = "", ""
        self.options = checked_options(DiAD, dict(spec.options), "diad")
        size: Any = spec.image_size or DEFAULT_SIZE
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])

    def autoencoder(self, dataset: str, root: str | None) -> Made:
        """Train stage 1 and save it to ``OUT/autoencoder``."""
        method = self._method()
        if not method.stage1.steps:
            raise UserError("diad autoencoder: autoencoder_steps is 0; set it: --options autoencoder_steps=20000")
        train = self.data(dataset, root)[1]
        run = self.run(train.class_names)
        method.config.check_size(*self.size)
        method.model = method.start_model(run).to(self.device)
        shown = train.images(torch.arange(0, len(train), -(-len(train) // SHOWN)))
        before = through(method.model, shown, self.device)
        method.train_autoencoder(train, run)
        after = through(method.model, shown, self.device)
        figures.rows(self.out / "autoencoder" / "before_after.png", {"image": shown, "before": before, "after": after})
        figures.losses(self.out / "scratch" / "history.csv", self.out / "autoencoder" / "losses.png", "autoencoder")
        return self._keep(method, run, "autoencoder")

    def build(self) -> Made:
        """Build the networks for the start of stage 2 and save them to ``OUT/start``."""
        method = self._method()
        run = self.run(())
        method.model = method.start_model(run)
        tuned = self.out / "autoencoder"
        if (tuned / "model.json").is_file():
            finetuned = weights.load(tuned)
            if finetuned.config != method.model.config:
                raise UserError(f"{tuned}: an autoencoder of another size; use the same --config and --options")
            method.model.vae.load_state_dict(finetuned.vae.state_dict(), strict=True)
            run.notes.extend(note for note in self._notes("autoencoder") if note not in run.notes)
        return self._keep(method, run, "start")

    def train(self, dataset: str, root: str | None) -> Made:
        """Train stage 2 and save it to ``OUT/model``."""
        start = self.out / "start"
        if not (start / "model.json").is_file():
            raise UserError(f"{start}: nothing to start from; run `diadbench diad build --out {self.out}` first")
        method = self._method()
        train = self.data(dataset, root)[1]
        run = self.run(train.class_names)
        run.notes.extend(self._notes("start"))
        method.config.check_size(*self.size)
        method.model = weights.load(start).to(self.device)
        method.train_diffusion(train, run)
        figures.losses(self.out / "scratch" / "history.csv", self.out / "model" / "losses.png", "diffusion")
        return self._keep(method, run, "model")

    def test(self, name: str, root: str | None, checkpoint: str | None, protocol: str, batch_size: int) -> Made:
        """Compute metrics and pictures and save them to ``OUT/test``."""
        rule = get_protocol(protocol)
        source = self.source(checkpoint)
        dataset, train, test = self.data(name, root, rule.mask_rule)
        run = self.run(train.class_names)
        method = self.trained(source, train, run)
        raw = kept_predictions(self.out / "test", self._decides(source, train.fingerprint))
        evaluator = make_evaluator(dataset, rule, self.out / "test" / "spill")
        done = 0
        for batch in test.batches(batch_size):
            found = explained(method, batch, raw, self.device)
            maps = torch.from_numpy(np.stack([each["map"] for each in found]))
            scores = torch.tensor([float(each["score"]) for each in found], dtype=torch.float64)
            evaluate_batch(evaluator, dataset, batch, maps, scores)
            done += len(found)
            run.progress(done, len(test), "test")
        result = evaluator.compute()
        shutil.rmtree(self.out / "test" / "spill", ignore_errors=True)
        self._write_results(result, run)
        paint_images(self.out / "test" / "images", test, raw, self._tell)
        paint_denoising(self.out / "test", method, test, self.device)
        return Made("results", self.out / "test", run.notes, result.mean())

    # -- parts ----------------------------------------------------------------------------------------------

    def source(self, checkpoint: str | None) -> Path:
        """Return the path of the trained model: a file, a directory of a step, or a cell's model. Raises UserError."""
        source = Path(checkpoint).expanduser() if checkpoint else self.out / "model"
        if (source / "cell.yaml").is_file():
            return kept_model(source)
        if not source.exists():
            todo = (
                "no such file or directory" if checkpoint else "run `diadbench diad train` first, or give --checkpoint"
            )
            raise UserError(f"{source}: no checkpoint; {todo}")
        return source

    def _method(self) -> DiAD:
        seed_everything(self.seed, "diad")
        return DiAD(**self.options)

    def data(self, name: str, root: str | None, mask_rule: str = "nearest") -> tuple[Dataset, TrainData, TestData]:
        """Return the data of a dataset, all classes together."""
        spec = parse_grid(
            {"name": "diad", "methods": {"diad": {}}, "datasets": {"data": {"dataset": name}}}, "diad"
        ).datasets["data"]
        dataset = datasets.get(spec.dataset, root or spec.root, **spec.options)
        data = DataModule(dataset, self.size, mask_rule=mask_rule, progress=self._tell)
        data.prepare()
        self.data_notes = [*dataset.flags, *data.notes]
        self.dataset, self.fingerprint = name, data.fingerprint
        (part,) = dataset.parts("multi-class")
        return dataset, *data.part(part)

    def run(self, class_names: tuple[str, ...]) -> RunContext:
        """Return the settings of a training or a test in this directory."""
        directory = self.out / "scratch"
        directory.mkdir(parents=True, exist_ok=True)
        threads = torch.get_num_threads()
        found = RunContext(
            self.seed, self.device, self.size, class_names, directory, cache_dir(), threads, progress=self._tell
        )
        found.notes += gpu_notes("diad", self.device, tf32=True)
        return found

    def _keep(self, method: DiAD, run: RunContext, step: str) -> Made:
        method.save(self.out / step)
        decides = {"method_options": self.options, "image_size": list(self.size), "fingerprint": self.fingerprint}
        origin = Origin(
            version=__version__,
            method="diad",
            dataset=self.dataset,
            classes=run.class_names,
            image_size=self.size,
            seed=self.seed,
            decides=decides,
            notes=tuple(dict.fromkeys([*self.data_notes, *run.notes])),
            extras=run.extras,
        )
        keep(self.out / step, origin)
        return Made(step, self.out / step, run.notes)

    def _notes(self, step: str) -> list[str]:
        return list(kept(self.out / step).notes)

    def trained(self, source: Path, train: TrainData, run: RunContext) -> DiAD:
        """Return a trained DiAD from a directory of a step or from a checkpoint."""
        if source.is_dir():
            method = self._method()
            origin = kept(source)
            if source == self.out / "model":
                add(run.notes, list(origin.notes))
            else:
                add(run.notes, notes_of(origin, str(source), run))
            method.load(source, run)
            return method
        seed_everything(self.seed, "diad")
        method = DiAD(**{**self.options, "checkpoint": str(source)})
        method.fit(train, run)  # Nothing is trained, because the checkpoint is already trained.
        return method

    def _decides(self, source: Path, fingerprint: str) -> dict[str, Any]:
        """Return all that decides the predictions of a trained model."""
        files = [source] if source.is_file() else sorted(source.glob("model.*"))
        facts = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        return {"files": facts, "options": self.options, "data": fingerprint, "size": self.size, "seed": self.seed}

    def _write_results(self, result: Any, run: RunContext) -> None:
        for name, table in (("metrics", result.table), ("mean", result.mean()), ("images", result.images)):
            write_with(self.out / "test" / f"{name}.csv", partial(table.to_csv, index=False))
        write_json(self.out / "test" / "notes.json", list(dict.fromkeys([*self.data_notes, *run.notes])))
