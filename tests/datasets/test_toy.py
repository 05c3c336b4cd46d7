from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.lookup import get
from diadbench.datasets.table import count
from diadbench.datasets.toy.dataset import Toy
from diadbench.datasets.toy.defects import DEFECTS, spoiled
from diadbench.datasets.toy.render import ToyOptions, sample
from diadbench.datasets.toy.scenes import SCENES

SMALL = {"size": 48, "train": 3, "test_good": 2, "test_bad": 1}
OPTIONS = ToyOptions(64, 1, 1, 1, tuple(DEFECTS), 0.2, 0)


def test_layout_counts_and_flags() -> None:
    toy = get("toy", **SMALL)
    assert toy.classes == ("washer", "weave", "tile", "capsule")
    assert count(toy.samples).to_numpy().tolist() == [[3, 2, 4]] * 4
    assert set(toy.samples["defect"]) == {"good", "blot", "scratch", "displaced", "smear"}
    assert toy.flags == ("procedural images",)
    assert (toy.root / "weave" / "ground_truth" / "blot" / "000_mask.png").is_file()
    assert Image.open(toy.root / toy.samples["image"][0]).size == (48, 48)
    assert Toy(**SMALL, classes=["tile"]).flags == ("procedural images", "1 of 4 classes")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, second = Toy(tmp_path / "a", **SMALL), Toy(tmp_path / "b", **SMALL)
    assert DataModule(first, 48).fingerprint == DataModule(second, 48).fingerprint
    for name in first.samples["image"]:
        assert (first.root / name).read_bytes() == (second.root / name).read_bytes()
    assert DataModule(Toy(seed=1, **SMALL), 48).fingerprint != DataModule(first, 48).fingerprint


def test_a_larger_set_begins_with_the_smaller_ones_images(tmp_path: Path) -> None:
    small = Toy(tmp_path / "a", **SMALL)
    large = Toy(tmp_path / "b", **{**SMALL, "train": 4, "defects": ["smear"]})
    for name in ("washer/train/good/002.png", "tile/test/smear/000.png"):
        assert (small.root / name).read_bytes() == (large.root / name).read_bytes()


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_masks_are_exact(name: str, defect: str) -> None:
    rng = np.random.default_rng(5)
    clean, body = SCENES[name](96, rng)
    image, mask = spoiled(defect, clean, body, rng, 0.8)
    changed = np.abs(image - clean).max(axis=2)
    assert (changed[~mask] == 0).all()
    assert (changed[mask] > 0.03).mean() > 0.6
    assert mask.mean() < 0.25
    assert not mask[body == 0].any()


@pytest.mark.parametrize("name", SCENES)
def test_no_two_normal_images_line_up(name: str) -> None:
    images = [sample(name, "train", "good", i, OPTIONS)[0].astype(float) for i in range(6)]
    differences = [np.abs(a - b).mean() for i, a in enumerate(images) for b in images[:i]]
    assert min(differences) > 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size is 8; expected 32 to 1024"),
        ({"train": 0}, "train is 0"),
        ({"difficulty": 2}, "difficulty is 2"),
        ({"test_good": 0, "test_bad": 0}, "at least one test image"),
        ({"defects": ["blob"]}, "unknown defect 'blob'; did you mean blot"),
        ({"sise": 64}, "unknown option 'sise'; did you mean size"),
        ({"classes": ["tyle"]}, "unknown class 'tyle'; did you mean tile"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = get("toy", **{**SMALL, **options}).samples


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        _ = Toy(tmp_path, **SMALL).samples
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_half_a_set_is_drawn_again(own_cache: Path) -> None:
    root = Toy(**SMALL).root
    (root / "toy.json").unlink()
    (root / "washer" / "train" / "good" / "000.png").unlink()
    assert len(Toy(**SMALL).samples) == 4 * 9
    assert {path.name for path in root.parent.iterdir() if not path.name.startswith(".")} == {root.name}
