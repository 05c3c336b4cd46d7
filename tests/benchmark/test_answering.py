"""A method's predictions on their way to the metrics: resized, pooled where they lie, in parts if memory is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.answering import Answer, answered, joined
from diadbench.benchmark.cells.scoring.batch_by_memory import answered_in_parts
from diadbench.benchmark.cells.scoring.scored_batches import POOLED, Predictions, tensors
from diadbench.benchmark.metrics import Evaluator, get_protocol
from diadbench.benchmark.metrics.exact.pooling import map_scores, pooled_scores
from diadbench.common.errors import UserError
from diadbench.methods.base import Prediction, RunContext
from diadbench.methods.diad.score_maps import image_score
from tests.helpers.pixel_mean import PixelMean

CPU = torch.device("cpu")


class Fixed(PixelMean):
    """Predicts colours; more than ``most`` images at a time are out of memory."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most = most
        self.asked: list[int] = []

    def predict(self, images: Tensor) -> Prediction:
        self.asked.append(len(images))
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return Prediction(images.mean(1), images.amax((1, 2, 3)), images)


def context(path: Path) -> RunContext:
    return RunContext(0, CPU, (8, 8), ("a",), path, path)


def test_answers_are_the_methods() -> None:
    images = torch.rand(3, 3, 8, 8)
    found = answered(Fixed(), images, CPU)
    assert torch.equal(found.maps, images.mean(1))
    assert torch.equal(found.scores, images.amax((1, 2, 3)))
    assert found.reconstruction is not None
    assert found.pooled is None, "the evaluator pools maps of a CPU"
    resized = answered(Fixed(), images, CPU, (16, 12))
    assert resized.maps.shape == (3, 16, 12)


@pytest.mark.parametrize("name", ["diad", "uniad", "ader+pooled21"])
def test_scores_pooled_as_tensors_are_the_evaluators(name: str) -> None:
    maps, protocol = torch.rand(5, 96, 80, generator=torch.Generator().manual_seed(0)), get_protocol(name)
    found = pooled_scores(maps, protocol)
    assert np.array_equal(found.numpy(), map_scores(maps.numpy(), protocol))
    if name == "diad":
        torch.testing.assert_close(found, image_score(maps))
    with pytest.raises(UserError, match="poolings need maps of at least"):
        pooled_scores(maps[:, :8, :8], protocol)


def test_given_pooled_scores_stand_in_for_the_evaluators_own() -> None:
    maps = torch.rand(4, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(4, 64, 64, dtype=torch.bool)
    masks[2:, 10:30, 10:30] = True
    given: dict[str, Any] = {"class_id": [0] * 4, "anomaly_map": maps, "mask": masks, "score": None, "label": None}
    own, other, wrong = (Evaluator(["a"], protocol) for protocol in ("diad", "diad", "exact"))
    own.update(**given)
    other.update(**given, pooled=torch.tensor([4.0, 3.0, 2.0, 1.0]))
    assert own.compute().images["score"].tolist() == pooled_scores(maps, own.protocol).double().tolist()
    assert other.compute().images["score"].tolist() == [4.0, 3.0, 2.0, 1.0]
    with pytest.raises(UserError, match="protocol exact has the rule method"):
        wrong.update(**given, pooled=torch.zeros(4))


def test_kept_pooled_scores_count_for_their_protocol_alone(tmp_path: Path) -> None:
    kept, maps = Predictions(tmp_path), torch.rand(3, 4, 4)
    kept.keep(torch.tensor([5, 6, 7]), maps, torch.ones(3), {f"{POOLED}diad": np.arange(3.0), "random/x": np.zeros(9)})
    found = Predictions(tmp_path).recall(torch.tensor([6, 7]))
    assert found is not None
    again, _, pooled = tensors(found, "diad")
    assert torch.equal(again, maps[1:])
    assert pooled is not None
    assert pooled.tolist() == [1.0, 2.0]
    assert found["random/x"].shape == (9,)
    assert tensors(found, "uniad")[2] is None


def test_a_batch_that_is_out_of_memory_is_divided_and_it_is_said(tmp_path: Path) -> None:
    method, run, images = Fixed(most=3), context(tmp_path), torch.rand(10, 3, 8, 8)
    found = answered_in_parts(lambda part: answered(method, part, CPU), images, run)
    whole = answered(Fixed(), images, CPU)
    for name in ("maps", "scores", "reconstruction"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
    assert method.asked == [10, 5, 3, 2, 5, 3, 2]
    assert run.extras == {"test_batch_divided": 3}
    with pytest.raises(torch.cuda.OutOfMemoryError):
        answered_in_parts(lambda part: answered(Fixed(most=0), part, CPU), images, run)


def test_other_errors_are_not_taken_for_memory(tmp_path: Path) -> None:
    def fail(images: Tensor) -> Answer:
        raise ValueError("no such layer")

    with pytest.raises(ValueError, match="no such layer"):
        answered_in_parts(fail, torch.rand(4, 3, 8, 8), context(tmp_path))


def test_what_one_part_lacks_the_whole_lacks() -> None:
    one = Answer(torch.zeros(1, 2, 2), torch.zeros(1), torch.zeros(1))
    assert joined([one, Answer(torch.zeros(2, 2, 2), torch.zeros(2))]).pooled is None
    assert joined([one, one]).pooled is not None
