"""From a fitted method to the metrics of its part: batch by batch, and after a kill from the first new batch on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from diadbench.benchmark.cells.provenance import random_state, set_random_state
from diadbench.benchmark.cells.scoring.answering import Answer, answered
from diadbench.benchmark.cells.scoring.batch_by_memory import answered_in_parts
from diadbench.benchmark.cells.scoring.calibrating import normal_rows
from diadbench.benchmark.cells.scoring.evaluating import evaluate_batch
from diadbench.benchmark.cells.scoring.evaluation_size import evaluation_size
from diadbench.benchmark.cells.scoring.reading_ahead import Beside, pinned, read_ahead
from diadbench.benchmark.cells.scoring.scored_batches import POOLED, Arrays, Predictions, tensors
from diadbench.benchmark.metrics.class_result import ClassResult
from diadbench.methods.authoring.returned import checked
from diadbench.methods.base import SampleMethod

if TYPE_CHECKING:
    from torch import Tensor

    from diadbench.benchmark.cells.keep import Keeper
    from diadbench.benchmark.cells.phases import Phases
    from diadbench.benchmark.metrics import Evaluator
    from diadbench.datasets.base import Dataset
    from diadbench.datasets.decoding.data import Batch, TestData
    from diadbench.methods.base import Method, RunContext


@dataclass
class PartScorer:
    """Scores the test images of one part of a cell.

    Attributes:
        cell: The cell's configuration.
        dataset: The dataset.
        test: Test images of the part.
        run: The run as the method sees it.
        scored: What an earlier process of this cell has scored of the part.
        phases: Where time is counted.
        evaluator: Gets all maps and scores.
        keeper: Keeps what reports need.
    """

    cell: dict[str, Any]
    dataset: Dataset
    test: TestData
    run: RunContext
    scored: Predictions
    phases: Phases
    evaluator: Evaluator
    keeper: Keeper

    def __post_init__(self) -> None:
        self._state: Arrays = {}
        self._said: tuple[list[str], dict[str, Any]] = ([], {})
        self._done = 0
        self._beside = Beside(in_thread=False)
        #: Images a batch.
        self.batch_size = int(self.cell["batch_size"])

    def is_whole(self) -> bool:
        """Whether all classes have been scored to their end, so that no model is needed."""
        names = self._names()
        return sum(1 for _ in self._over(names)) == len(names)

    def announce(self, method: Method | None) -> None:
        """Tell a method by samples what it will be asked, validation images among it."""
        if isinstance(method, SampleMethod):
            known = [normal_rows(self.dataset, name) for name in self.dataset.classes]
            samples = pd.concat([self.dataset.samples, *known], ignore_index=True)
            method.expect(samples, self.test.table, evaluation_size(self.cell), self.run)

    def restore(self) -> None:
        """Take the classes that an earlier process has scored to their end, up to the first that isn't over."""
        self._state = self.scored.start
        counts = self.test.table["class"].value_counts()
        for name, found in self._over(self._names()):
            self.keeper.restore(name, _named(found, "kept/"))
            self.evaluator.restore(self.dataset.classes.index(name), ClassResult.from_arrays(_named(found, "result/")))
            self._state = _named(found, "random/")
            self._done += int(counts[name])

    def _names(self) -> list[str]:
        """Return the classes in the order in which their images come."""
        return [str(name) for name in self.test.table["class"].drop_duplicates()]

    def _over(self, names: list[str]) -> Iterator[tuple[str, Arrays]]:
        for name in names:
            found = self.scored.finished(self.dataset.classes.index(name))
            if found is None or str(found["protocol"]) != self.cell["protocol"]:  # which is no part of the identity
                return
            if not self.keeper.can_restore(name, _named(found, "kept/")):
                return
            yield name, found

    def predict(self, method: Method) -> None:
        """Score all remaining images, class after class."""
        batches = self.test.batches(self.batch_size, first=self._done)
        on_gpu = self.run.device.type == "cuda"  # on a CPU threads would take the method's time
        if on_gpu:
            batches = read_ahead(pinned(batches))
        with Beside(in_thread=on_gpu) as self._beside:
            for name, of_class in itertools.groupby(batches, self._class_of):
                for batch in of_class:
                    self._take(method, batch)
                    self._done += len(batch.index)
                    self.run.progress(self._done, len(self.test), "predict")
                self._beside.wait()
                self._finish(name)
                self._say(method)
                self.phases.keep()

    def _class_of(self, batch: Batch) -> str:
        return self.test.class_names[int(batch.class_id[0])]

    def _take(self, method: Method, batch: Batch) -> None:
        found = self.scored.recall(batch.index)
        if found is not None:
            maps, scores, pooled = tensors(found, self.evaluator.protocol.name)
            self._state = _named(found, "random/")
            self.keeper.keep(batch, maps, scores, None, again=True)
        else:
            if self._state:  # the first new batch: its random numbers go on where the killed process was
                set_random_state(self._state, self.run.device)
                self._state = {}
            answer = self._predicted(method, batch)
            maps, scores, pooled = answer.maps, answer.scores, answer.pooled
            self.keeper.keep(batch, maps, scores, answer.reconstruction)
            self._say(method)
            more = {f"random/{key}": value for key, value in random_state(self.run.device).items()}
            if pooled is not None:
                more[f"{POOLED}{self.evaluator.protocol.name}"] = pooled.numpy()
            self.scored.keep(batch.index, maps, scores, more)
        self._beside.do(partial(evaluate_batch, self.evaluator, self.dataset, batch, maps, scores, pooled))

    def _predicted(self, method: Method, batch: Batch) -> Answer:
        if isinstance(method, SampleMethod):  # reading files is no speed of a model
            rows = self.dataset.samples.loc[batch.index.tolist()]
            size = evaluation_size(self.cell)
            found = checked(method.predict_samples(rows, size), len(rows), size)
            return Answer(found.anomaly_map, found.score)
        with self.phases("model"), torch.inference_mode():
            answer = self._asked(method, batch.image)
        self.phases.count("model", len(answer.scores))
        return replace(answer, maps=answer.maps.clone(), scores=answer.scores.clone())  # tensors that may be changed

    def _asked(self, method: Method, images: Tensor) -> Answer:
        size, protocol = evaluation_size(self.cell), self.evaluator.protocol
        ask = partial(answered, method, device=self.run.device, size=size, protocol=protocol)
        if self.cell.get("batch_by_memory", False):
            return answered_in_parts(ask, images, self.run)
        return ask(images)

    def _finish(self, name: str) -> None:
        """Compute the metrics of a class and keep them in place of its maps."""
        position = self.dataset.classes.index(name)
        with self.phases("evaluate"):
            result = self.evaluator.close(position)
        state = self._state or random_state(self.run.device)
        parts = (("result", result.to_arrays(name)), ("kept", self.keeper.close(name)), ("random", state))
        arrays = {f"{part}/{key}": value for part, found in parts for key, value in found.items()}
        self.scored.finish(position, {"protocol": np.array(self.cell["protocol"]), **arrays})

    def _say(self, method: Method) -> None:
        """Keep the notes of the method beside its results if there are new ones."""
        now = list(self.run.notes), dict(self.run.extras)
        if now != self._said:
            self._said = now
            self.scored.say(notes=now[0], extras=now[1], parameters=method.parameters_count())


def _named(arrays: Arrays, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
