"""Maps lie where the model looked: for the pre-processor of every anomalib model, through the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anomalib.models
import pytest
import torch
from anomalib import LearningType
from anomalib.data import InferenceBatch
from anomalib.models.components import AnomalibModule
from torch import Tensor, nn
from torchvision.transforms import v2

from diadbench.common.errors import UserError
from diadbench.methods.anomalib_models import method as anomalib_method
from diadbench.methods.anomalib_models.bridge import bridge
from diadbench.methods.anomalib_models.method import AnomalibMethod
from diadbench.methods.anomalib_models.names import model_names
from diadbench.methods.anomalib_models.place import find_place
from diadbench.methods.base import RunContext

SIZES = [(64, 64), (256, 256), (224, 288), (130, 97), (512, 448)]


class Grey(nn.Module):
    """Its map is the grey input that reaches it, and its score the map's maximum."""

    def forward(self, images: Tensor) -> InferenceBatch:
        maps = images.mean(1, keepdim=True)
        return InferenceBatch(anomaly_map=maps, pred_score=maps.amax((1, 2, 3)))


class Mirror(AnomalibModule):
    """A real anomalib module, with everything of it between image and map, around :class:`Grey`."""

    def __init__(
        self, pre_processor: Any = True, post_processor: Any = True, evaluator: Any = True, visualizer: Any = True
    ) -> None:
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.model = Grey()

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        return {}

    @property
    def learning_type(self) -> LearningType:
        return LearningType.ONE_CLASS


@pytest.fixture(autouse=True)
def _no_mirror_stays() -> Iterator[None]:
    """Bridges are made once a process: those made around a mirror are for one test alone."""
    yield
    bridge.cache_clear()


def mirrored(monkeypatch: pytest.MonkeyPatch, name: str, run: RunContext, **options: Any) -> AnomalibMethod:
    """The bridge around a :class:`Mirror` with the pre-processor of anomalib's model ``name``."""
    cls = bridge(name)
    configure = getattr(anomalib.models, name).configure_pre_processor
    mirror = type(name, (Mirror,), {"configure_pre_processor": staticmethod(configure)})
    monkeypatch.setattr(anomalib_method, "model_class", lambda _: mirror)
    method = cls(**options)
    method._model = method._build(run).eval()
    return method


def settings(size: tuple[int, int], path: Path) -> RunContext:
    return RunContext(0, torch.device("cpu"), size, ("c",), path, path)


def marked(size: tuple[int, int], row: int, column: int, side: int = 3) -> Tensor:
    """A dark image with one bright square around a pixel; ``(1,3,H,W)``."""
    image = torch.zeros(1, 3, *size)
    half = side // 2
    image[..., max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] = 1
    return image


def peak(maps: Tensor) -> tuple[float, float]:
    """Centre of mass of what stands out of a map ``(H,W)``: row and column."""
    above = (maps - maps.min()) * (maps > maps.min() + 0.5 * (maps.max() - maps.min()))
    rows = torch.arange(maps.shape[0])[:, None]
    columns = torch.arange(maps.shape[1])[None]
    return float((above * rows).sum() / above.sum()), float((above * columns).sum() / above.sum())


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", model_names())
def test_a_marked_pixel_is_found_at_its_place(
    name: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = mirrored(monkeypatch, name, settings(size, tmp_path))
    place = method._place
    assert place is not None
    height, width = size
    places = [(height // 2, width // 2), (height // 2 - height // 12, width // 2 + width // 13)]
    places += [(int(height * share), int(width * (1 - share))) for share in (0.15, 0.3, 0.8)]
    seen = [
        (row, column)
        for row, column in places
        if place.rows[0] + 2 < row < place.rows[1] - 3 and place.columns[0] + 2 < column < place.columns[1] - 3
    ]
    assert len(seen) >= 2
    for row, column in seen:
        found = method.predict(marked(size, row, column))
        assert found.anomaly_map.shape == (1, *size)
        at = peak(found.anomaly_map[0])
        assert max(abs(at[0] - row), abs(at[1] - column)) <= 1, (place, (row, column), at)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", model_names())
def test_what_the_model_did_not_see_is_lowest_and_its_share_is_said(
    name: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings(size, tmp_path)
    method = mirrored(monkeypatch, name, run)
    torch.manual_seed(0)
    image = torch.rand(1, 3, *size)
    maps = method.predict(image).anomaly_map[0]
    share = float((maps == maps.min()).float().mean())
    assert method._place is not None
    unseen = method._place.unseen
    assert share == pytest.approx(unseen, abs=0.02)
    said = [note for note in run.notes if "never looks" in note]
    assert len(said) == (unseen > 0)
    assert all(f"{100 * unseen:.1f} %" in note for note in said)


def test_the_authors_share_is_cut_off_and_the_refusal_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Dinomaly", "InpFormer"):
        run = settings((256, 256), tmp_path)
        method = mirrored(monkeypatch, name, run)
        assert method._place is not None
        assert (method._place.rows, method._place.columns) == ((16, 240), (16, 240))
        assert any("from 256x256 to 448x448 (256x256 is refused: Crop size 392" in note for note in run.notes)
        assert any("23.4 %" in note for note in run.notes)
    run = settings((256, 256), tmp_path)
    mirrored(monkeypatch, "Rad", run)
    assert any("from 256x256 to 512x512 (its crop is larger than 256x256)" in note for note in run.notes)
    run = settings((256, 256), tmp_path)
    mirrored(monkeypatch, "MHPatchcore", run)
    assert [note for note in run.notes if "resized" in note] == []
    assert any("23.4 %" in note for note in run.notes)


def test_a_size_that_is_not_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = settings((256, 256), tmp_path)
    mirrored(monkeypatch, "Uflow", run)
    assert run.notes == ["Uflow: images are resized from 256x256 to 448x448"]


def test_padding_of_oblong_images_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = settings((224, 288), tmp_path)
    mirrored(monkeypatch, "L2BT", run)
    assert run.notes == ["L2BT: images are resized from 224x288 to 174x288 and padded to 224x288"]


@pytest.mark.parametrize("name", ["Dinomaly", "InpFormer", "Rad", "MHPatchcore", "FoundAD"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_without_the_crop_the_whole_image_is_seen(
    name: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings(size, tmp_path)
    method = mirrored(monkeypatch, name, run, crop=False)
    assert method._place is not None
    assert method._place.whole
    kept = mirrored(monkeypatch, name, settings(size, tmp_path))._place
    assert kept is not None
    assert method._place.size == kept.size
    assert f"{name} without anomalib's crop: the whole image is its input" in run.notes
    corner = method.predict(marked(size, 2, 2, side=5)).anomaly_map[0]
    row, column = peak(corner)
    assert max(row, column) < 5


def test_a_crop_that_is_not_there_can_not_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Padim", "AiVad"):
        with pytest.raises(UserError, match=r"crop is false, but this model crops nothing"):
            mirrored(monkeypatch, name, settings((64, 64), tmp_path), crop=False)


def test_the_score_is_the_models_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = mirrored(monkeypatch, "MHPatchcore", settings((256, 256), tmp_path))
    image = marked((256, 256), 128, 128, side=1)
    expected = method._model(image).pred_score
    assert torch.equal(method.predict(image).score, expected)


def test_prediction_takes_the_transform_that_training_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = mirrored(monkeypatch, "WinClip", settings((512, 512), tmp_path))
    torch.manual_seed(0)
    image = torch.rand(1, 3, 512, 512)
    trained_on = method._model.pre_processor.transform(image)
    assert torch.equal(method._model(image).anomaly_map, trained_on.mean(1, keepdim=True))


def test_an_image_of_another_size_has_its_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = mirrored(monkeypatch, "MHPatchcore", settings((256, 256), tmp_path))
    found = method.predict(marked((300, 200), 100, 120))
    row, column = peak(found.anomaly_map[0])
    assert (abs(row - 100) <= 1, abs(column - 120) <= 1) == (True, True)


@pytest.mark.parametrize("transform", [v2.RandomHorizontalFlip(1.0), v2.RandomRotation((90, 90)), v2.Resize((1, 1))])
def test_a_transform_that_moves_pixels_otherwise_is_refused(transform: Any) -> None:
    with pytest.raises(UserError, match="can't tell where the map"):
        find_place(v2.Compose([transform, v2.Normalize([0.5] * 3, [0.5] * 3)]), (64, 64))
