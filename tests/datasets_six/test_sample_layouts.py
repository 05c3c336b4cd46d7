"""Every layout of every set is written, found out, and read as what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from diadbench.common.errors import UserError
from diadbench.datasets import get, get_class
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.samples import layouts, make_sample, sample_names

#: What the adapter calls the layout that a sample is written in.
FOUND = {
    ("mvtec", "diad"): "lines",
    ("mvtec", "uniad"): "lines",
    ("mvtec3d", "diad"): "lines",
    ("visa", "diad"): "owner",
    ("visa", "anomalib"): "relaid",
    ("realiad", "anomalib"): "owner",
    ("unimedical", "anomalib"): "bmad",
}
CASES = [(name, layout) for name in sample_names() for layout in layouts(name)]
SMALL = {"train": 2, "good": 1, "bad": 2, "size": 24}


def some_classes(name: str) -> list[str] | None:
    classes = CATALOG[name].info.classes
    return None if name == "coco_ad" else list(classes[:3])


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_what_was_written_is_read(name: str, layout: str, tmp_path: Path) -> None:
    records = make_sample(name, tmp_path / "data", layout=layout, classes=some_classes(name), **SMALL)
    dataset = get(name, tmp_path / "data")
    table = dataset.samples
    assert dataset.found.layout.name == FOUND.get((name, layout), layout)
    columns = ["image", "mask", "class", "split", "label", "defect"]
    assert set(map(tuple, table[columns].itertuples(index=False))) == {record[:6] for record in records}
    assert len(table) == len(records)
    assert "synthetic sample data" in dataset.flags
    for path in table["image"]:
        assert (dataset.root / path).is_file()
    for path in table["mask"]:
        assert not path or (dataset.mask_root / path).exists()


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_data_one_folder_deeper(name: str, layout: str, tmp_path: Path) -> None:
    records = make_sample(name, tmp_path / "deeper", layout=layout, classes=some_classes(name), **SMALL)
    table = get(name, tmp_path).samples
    assert len(table) == len(records)
    assert table["image"].iloc[0].startswith("deeper/")
    assert (tmp_path / table["image"].iloc[0]).is_file()


def test_two_copies_are_not_chosen_from(tmp_path: Path) -> None:
    for name in ("first", "second"):
        make_sample("mpdd", tmp_path / name, classes=["tubes"], **SMALL)
    with pytest.raises(UserError, match="more than one folder, first and second"):
        _ = get("mpdd", tmp_path).samples


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_the_catalog_is_the_adapters_info(name: str) -> None:
    try:
        adapter = get_class(name)
    except Exception as error:
        pytest.skip(str(error))
    assert adapter.info == CATALOG[name].info


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_sample("mvtec", tmp_path / name, classes=["bottle"], **SMALL)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) > 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
