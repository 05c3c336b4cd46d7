from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.common.errors import Skip, UserError
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.sets.elpv import Elpv
from diadbench.datasets.table import count

pytest.importorskip("elpv_dataset")


def test_counts_of_the_whole_set() -> None:
    dataset = Elpv()
    assert dataset.classes == ("mono", "poly")
    assert count(dataset.samples).to_numpy().tolist() == [[470, 118, 313], [736, 184, 402]]
    assert not dataset.info.has_masks
    assert dataset.flags == ()


def test_an_option_adds_the_probably_defective() -> None:
    dataset = Elpv(include_two_thirds=True)
    bad = count(dataset.samples)["test_bad"]
    assert (bad > [313, 402]).all()
    assert dataset.flags == ("probability 2/3 counts as anomalous",)


def test_the_seed_decides_what_is_trained_on() -> None:
    first, again, other = (set(Elpv(seed=s).samples.query("split == 'train'")["image"]) for s in (0, 0, 1))
    assert first == again
    assert len(first) == len(other)
    assert first != other


def test_a_subset_is_part_of_the_whole_and_says_so() -> None:
    whole, dataset = Elpv(), Elpv(max_train=12, max_test=8)
    assert count(dataset.samples).to_numpy().tolist() == [[12, 2, 6], [12, 3, 5]]
    assert dataset.flags == ("subset of ELPV: at most 12 train images a class, at most 8 test images a class",)
    for split in ("train", "test"):
        images = [set(d.samples["image"][d.samples["split"] == split]) for d in (dataset, whole)]
        assert images[0] <= images[1]


def test_a_fraction_keeps_every_share() -> None:
    dataset = Elpv(fraction=0.25)
    assert count(dataset.samples).to_numpy().tolist() == [[118, 30, 78], [184, 46, 100]]
    assert dataset.flags == ("subset of ELPV: 25 % of the images",)
    assert set(dataset.samples["image"]) < set(Elpv().samples["image"])


def test_batches_without_masks() -> None:
    dataset = Elpv(max_train=3, max_test=4)
    train, test = DataModule(dataset, 32).part(dataset.parts("multi-class")[0])
    assert train.images([0, 5]).shape == (2, 3, 32, 32)
    batches = list(test.batches(8))
    assert [batch.mask for batch in batches] == [None, None]
    assert test.mask(0) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0}, "fraction is 0"),
        ({"fraction": 25}, "fraction is 25"),
        ({"max_train": 0}, "max_train is 0"),
        ({"max_test": 1}, "max_test is 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Elpv(**options)  # type: ignore[arg-type]


def test_a_copy_elsewhere_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels\.csv: file not found"):
        _ = Elpv(tmp_path).samples
    (tmp_path / "labels.csv").write_text("images/a.png 0.0 mono\nimages/b.png often mono\n")
    with pytest.raises(UserError, match=r"labels\.csv: line 2: expected an image"):
        _ = Elpv(tmp_path).samples
    with pytest.raises(UserError, match="not a directory"):
        _ = Elpv(tmp_path / "nowhere").samples


def test_without_the_package_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Skip, match=r"pip install 'diadbench\[demo\]'"):
        _ = Elpv().samples
