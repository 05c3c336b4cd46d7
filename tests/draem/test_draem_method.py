"""DRAEM as a method: resume, save and load, notes, the assertion about positive pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.methods.authoring.small_data import SmallData
from diadbench.methods.base import RunContext
from diadbench.methods.draem import Draem
from diadbench.methods.draem.method import _Module

TINY: dict[str, Any] = {"steps": 4, "width": 2, "batch_size": 3}


class Killed(Exception):
    pass


def fit(
    directory: Path, kill_at: int | None = None, seed: int = 0, classes: int = 2, **options: Any
) -> tuple[Draem, RunContext]:
    def progress(done: int, total: int, what: str) -> None:
        if done == kill_at:
            raise Killed

    directory.mkdir(exist_ok=True)
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    data = SmallData(images, torch.arange(8) % classes, [f"c{i}" for i in range(classes)])
    run = RunContext(seed, torch.device("cpu"), (64, 64), data.class_names, directory, directory, progress=progress)
    method = Draem(**{**TINY, **options})
    method.fit(data, run)
    return method, run


def maps(method: Draem) -> Tensor:
    return method.predict(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))).anomaly_map


def test_fit_predict_save_load(tmp_path: Path) -> None:
    method, run = fit(tmp_path / "run")
    assert run.notes == ["procedural textures instead of DTD"]
    assert run.extras["steps"] == 4
    assert run.extras["loss"] > 0
    assert 0 <= run.extras["positive_share"] < 0.5
    images = torch.rand(4, 3, 64, 64)
    whole = method.predict(images)
    assert whole.anomaly_map.shape == (4, 64, 64)
    assert whole.score.shape == (4,)
    assert whole.reconstruction is not None
    assert whole.reconstruction.shape == images.shape
    single = torch.cat([method.predict(image[None]).anomaly_map for image in images])
    torch.testing.assert_close(single, whole.anomaly_map, rtol=1e-4, atol=1e-5)
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    loaded = Draem(**TINY)
    loaded.load(tmp_path / "saved", run)
    assert torch.equal(loaded.predict(images).anomaly_map, whole.anomaly_map)
    assert loaded.parameters_count() == method.parameters_count()
    with pytest.raises(UserError, match="other options"):
        Draem(width=3).load(tmp_path / "saved", run)


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, run = fit(tmp_path / "whole")
    with pytest.raises(Killed):
        fit(tmp_path / "killed", kill_at=3, checkpoint_minutes=0.0)
    resumed, again = fit(tmp_path / "killed")
    assert torch.equal(maps(resumed), maps(whole))
    assert run.extras == again.extras


def test_image_score_pools_as_wide_as_it_is_told(tmp_path: Path) -> None:
    method, _ = fit(tmp_path, pool=1)
    found = method.predict(torch.rand(3, 3, 64, 64))
    assert torch.equal(found.score, found.anomaly_map.flatten(1).amax(1))


def test_seed_decides_and_one_class_works(tmp_path: Path) -> None:
    first, again, other = (maps(fit(tmp_path / str(i), seed=seed, classes=1)[0]) for i, seed in enumerate((3, 3, 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_texture_folder_needs_no_note(tmp_path: Path) -> None:
    (tmp_path / "dtd").mkdir()
    Image.new("RGB", (20, 10), (255, 128, 0)).save(tmp_path / "dtd" / "a.png")
    _, run = fit(tmp_path / "run", textures=str(tmp_path / "dtd"), steps=1)
    assert run.notes == []


def test_learning_rate_falls_to_a_fifth_twice() -> None:
    module = _Module(1, 1, lr=1.0, steps=10, source=None)
    made = module.configure_optimizers()
    rates = []
    for _ in range(10):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1.0] * 8 + [0.2, 0.04])


def test_training_without_a_positive_pixel_is_stopped() -> None:
    module = _Module(1, 1, lr=1.0, steps=10, source=None)
    painted, clean = torch.ones(8, 1, 4, 4), torch.zeros(8, 1, 4, 4)
    module.count(painted)
    for _ in range(7):
        module.count(clean)
    with pytest.raises(RuntimeError, match="no positive mask pixel in the last 64"):
        module.count(clean)
    assert module.positive_share() == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "widths"),
        ({"lr": 0.0}, "lr"),
        ({"steps": 0}, "steps"),
        ({"pool": 4}, "pool"),
        ({"textures": "/x"}, "textures"),
    ],
)
def test_wrong_options_are_said(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"draem: {message}"):
        fit(tmp_path, **options)


def test_sides_must_be_multiples_of_32(tmp_path: Path) -> None:
    run = RunContext(0, torch.device("cpu"), (64, 48), ("a",), tmp_path, tmp_path)
    data = SmallData(torch.rand(2, 3, 64, 48), torch.zeros(2, dtype=torch.int64), ["a"])
    with pytest.raises(UserError, match="multiples of 32, found 64x48"):
        Draem(**TINY).fit(data, run)
