"""The three trivial methods, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import SmallData, anomalous_images, normal_images, small_train
from diadbench.methods.base import Method, RunContext
from diadbench.methods.simple.trivial import GlobalKnn, MeanImage, PixelKnn


def settings(tmp_path: Path, size: int = 64) -> RunContext:
    return RunContext(0, torch.device("cpu"), (size, size), ("a",), tmp_path, tmp_path)


def flat(*values: float) -> SmallData:
    images = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return SmallData(images, torch.zeros(len(values), dtype=torch.int64), ["a"])


def test_mean_image_by_hand(tmp_path: Path) -> None:
    method = MeanImage()
    method.fit(flat(0.2, 0.4), settings(tmp_path, 8))
    prediction = method.predict(torch.full((1, 3, 8, 8), 0.8))
    torch.testing.assert_close(prediction.anomaly_map, torch.full((1, 8, 8), 0.25))
    torch.testing.assert_close(prediction.score, torch.tensor([0.25]))


def test_pixel_knn_by_hand(tmp_path: Path) -> None:
    method = PixelKnn(size=4)
    method.fit(flat(0.2, 0.6), settings(tmp_path, 8))
    prediction = method.predict(torch.full((1, 3, 8, 8), 0.7))
    torch.testing.assert_close(prediction.anomaly_map, torch.full((1, 8, 8), 0.01))
    torch.testing.assert_close(prediction.score, torch.tensor([(48 * 0.01) ** 0.5]))


def test_pixel_knn_says_what_size_must_be() -> None:
    with pytest.raises(UserError, match="at least 1"):
        PixelKnn(size=0)


@pytest.mark.parametrize(
    "method",
    [MeanImage(), PixelKnn(), GlobalKnn("tf_efficientnet_lite0", "package")],
    ids=lambda method: method.info.name,
)
def test_a_blot_scores_higher_than_a_normal_image(method: Method, tmp_path: Path) -> None:
    method.fit(small_train(2, images=12), settings(tmp_path))
    normal = torch.cat([normal_images(6, i, seed=9) for i in range(2)])
    anomalous = torch.cat([anomalous_images(6, i)[0] for i in range(2)])
    assert method.predict(anomalous).score.mean() > method.predict(normal).score.mean()


def test_random_weights_leave_a_note(tmp_path: Path) -> None:
    run = settings(tmp_path)
    GlobalKnn("resnet10t", "random").fit(small_train(1, images=2), run)
    assert run.notes == ["random backbone weights"]
