"""The traps of the published sets, one a test. Each fails if the handling is taken away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.checking.check import check
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.decoding.images import read_image
from diadbench.datasets.decoding.mask_files import read_mask
from diadbench.datasets.facts.counts import Counts, published
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.samples import make_sample
from diadbench.datasets.samples.list_samples import write_lines
from diadbench.datasets.sets.visa import read_split, shipped_split
from diadbench.datasets.table import count

SMALL = {"train": 3, "good": 2, "bad": 3, "size": 24}


def write_image(path: Path, values: int = 128, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), values, dtype=np.uint8)).save(path)


# -- all sets ---------------------------------------------------------------------------------------------------


def test_published_counts_are_the_papers() -> None:
    totals = {
        "mvtec": (3629, 467, 1258),
        "visa": (8659, 962, 1200),
        "realiad": (36465, 63256, 51329),
        "unimedical": (13339, 2514, 4499),
        "mvtec3d": (2656, 249, 948),
        "coco_ad": (30438 + 65133 + 79083 + 77580, 1291 + 2785 + 3328 + 3253, 3661 + 2167 + 1624 + 1699),
        "mpdd": (888, 176, 282),
    }
    for name, expected in totals.items():
        rows = published(name)[0][1]
        assert set(rows) == set(CATALOG[name].info.classes)
        assert tuple(sum(getattr(row, key) for row in rows.values()) for key in ("train", "good", "bad")) == expected


def test_a_shifted_sort_order_does_not_shift_masks(tmp_path: Path) -> None:
    make_sample("mvtec", tmp_path / "x", classes=["bottle"], **SMALL)
    folder = tmp_path / "x/bottle/ground_truth/broken"
    (folder / ".DS_Store").write_bytes(b"x")
    write_image(folder / "0000_mask.png")  # sorts before, belongs to no image
    table = get("mvtec", tmp_path / "x").samples
    bad = table[table["defect"] == "broken"]
    assert [Path(mask).name for mask in bad["mask"]] == [f"{Path(image).stem}_mask.png" for image in bad["image"]]


def test_files_beside_the_classes_are_no_classes(tmp_path: Path) -> None:
    for name in ("mvtec", "mvtec3d", "realiad"):
        root = tmp_path / name
        make_sample(name, root, classes=list(CATALOG[name].info.classes[:2]), **SMALL)
        (root / "license.txt").write_text("x")
        (root / "notes").mkdir()
        if name == "realiad":
            (root / "realiad_jsons/readme.json").write_text("{}")
        assert get(name, root).classes == CATALOG[name].info.classes[:2]


def test_grey_files_become_rgb(tmp_path: Path) -> None:
    make_sample("mvtec", tmp_path / "x", classes=["grid"], **SMALL)
    path = tmp_path / "x/grid/train/good/000.png"
    assert Image.open(path).mode == "L"
    assert read_image(path).shape[2] == 3


def test_a_vanishing_mask_keeps_its_label_and_is_counted(tmp_path: Path) -> None:
    make_sample("mvtec", tmp_path / "x", classes=["bottle"], **SMALL)
    path = tmp_path / "x/bottle/ground_truth/broken/000_mask.png"
    values = np.zeros_like(np.array(Image.open(path)))
    values[3, 3] = 255
    Image.fromarray(values).save(path)
    dataset = get("mvtec", tmp_path / "x")
    module = DataModule(dataset, 8)
    assert module.vanished == {"bottle": 1}
    assert int(dataset.samples["label"].sum()) == 3
    report = check("mvtec", tmp_path / "x", size=8)
    assert report.vanished["nearest"] == 1
    assert report.vanished["ader"] == 1
    assert report.vanished["diad"] == 0  # its rule widens a mask
    assert any(one.kind == "vanished-mask" for one in report.findings)
    assert report.ok


# -- MVTec-AD ---------------------------------------------------------------------------------------------------


def test_diads_short_list_is_named(tmp_path: Path) -> None:
    lists: dict[str, list[dict[str, object]]] = {"train.json": [], "test.json": []}
    for cls, row in published("mvtec")[1][1].items():
        for i in range(row.train):
            line = {"filename": f"{cls}/train/good/{i:03d}.png", "label": 0, "clsname": cls, "label_name": "good"}
            lists["train.json"].append(line)
        for i in range(row.good + row.bad):
            bad = i >= row.good
            kind = "broken" if bad else "good"
            line = {"filename": f"{cls}/test/{kind}/{i:03d}.png", "label": int(bad), "clsname": cls}
            if bad:
                line["maskname"] = f"{cls}/ground_truth/{kind}/{i:03d}_mask.png"
            lists["test.json"].append(line)
    for name, records in lists.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, records)))
    write_image(tmp_path / "images/bottle/train/good/000.png")
    dataset = get("mvtec", tmp_path)
    assert any("one short" in flag for flag in dataset.flags)
    found = {cls: Counts(*row) for cls, row in zip(count(dataset.samples).index, count(dataset.samples).to_numpy())}
    assert found == published("mvtec")[1][1]
    assert found["screw"].train == published("mvtec")[0][1]["screw"].train - 1


def test_aders_doubled_slashes(tmp_path: Path) -> None:
    make_sample("mvtec", tmp_path / "x", layout="ader", classes=["bottle"], **SMALL)
    assert "good//000.png" in (tmp_path / "x/meta.json").read_text()
    assert not get("mvtec", tmp_path / "x").samples["image"].str.contains("//").any()


def test_a_meta_json_with_empty_species_and_null_masks(tmp_path: Path) -> None:
    make_sample("mvtec", tmp_path / "x", layout="ader", classes=["bottle"], **SMALL)
    meta = json.loads((tmp_path / "x/meta.json").read_text())
    for split in meta.values():
        for record in split["bottle"]:
            record["specie_name"] = ""
            record["mask_path"] = record["mask_path"] or None
            record["anomaly"] = bool(record["anomaly"])
    (tmp_path / "x/meta.json").write_text(json.dumps(meta))
    table = get("mvtec", tmp_path / "x").samples
    assert set(table["defect"]) == {"good", "defect"}
    assert table["label"].sum() == 3


@pytest.mark.parametrize("name", ["visa", "unimedical", "btad", "mpdd"])
def test_json_lines_in_other_sets(name: str, tmp_path: Path) -> None:
    cls = CATALOG[name].info.classes[0]
    records = make_sample(name, tmp_path / "images", classes=[cls], **SMALL)
    write_lines(tmp_path / "train.json", tmp_path / "test.json", records)
    dataset = get(name, tmp_path)
    assert dataset.found.layout.name == "lines"  # type: ignore[attr-defined]
    table = dataset.samples
    assert {(path, label) for path, label in zip(table["image"], table["label"])} == {
        (f"images/{one.image}", one.label) for one in records
    }


@pytest.mark.parametrize("name", ["mvtec", "visa", "realiad", "unimedical", "coco_ad", "mvtec3d"])
def test_an_unknown_class_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown class 'nothing'"):
        get(name, tmp_path, classes=["nothing"])


# -- VisA -------------------------------------------------------------------------------------------------------


def test_the_shipped_split_is_the_owners() -> None:
    table = shipped_split()
    assert len(table) == 10_821
    found = {cls: Counts(*row) for cls, row in zip(count(table).index, count(table).to_numpy())}
    assert found == published("visa")[0][1]
    assert table["image"].is_unique


def test_crlf_and_lf_and_a_byte_order_mark_read_alike(tmp_path: Path) -> None:
    make_sample("visa", tmp_path / "x", classes=["candle"], **SMALL)
    path = tmp_path / "x/split_csv/1cls.csv"
    raw = path.read_bytes()
    assert b"\r\n" in raw
    (tmp_path / "lf.csv").write_bytes(raw.replace(b"\r\n", b"\n"))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + raw)
    for other in ("lf.csv", "bom.csv"):
        assert read_split(tmp_path / other).equals(read_split(path))


def test_masks_of_class_ids_are_binarised_by_not_zero(tmp_path: Path) -> None:
    make_sample("visa", tmp_path / "x", classes=["candle"], **SMALL)
    dataset = get("visa", tmp_path / "x")
    for mask in dataset.samples["mask"]:
        if mask:
            values = np.array(Image.open(tmp_path / "x" / mask))
            assert 0 < values.max() < 10
            assert read_mask(tmp_path / "x" / mask).sum() == (values != 0).sum() > 0
    assert check("visa", tmp_path / "x", size=24).vanished["nearest"] == 0


def test_without_a_split_file_the_shipped_one_is_used(tmp_path: Path) -> None:
    listed = shipped_split()
    some = listed[listed["class"].isin(["candle", "fryum"])].groupby(["class", "split", "label"]).head(2)
    for path in [*some["image"], *some["mask"]]:
        if path:
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ones((8, 8), dtype=np.uint8)).save(target, "JPEG" if path.endswith("JPG") else "PNG")
    dataset = get("visa", tmp_path)
    assert sorted(dataset.samples["image"]) == sorted(some["image"])
    assert set(zip(dataset.samples["image"], dataset.samples["split"])) == set(zip(some["image"], some["split"]))
    assert f"{len(some)} of 1,700 images of the 1cls split" in dataset.flags


def test_the_split_of_2cls_is_not_taken(tmp_path: Path) -> None:
    listed = shipped_split()
    some = listed[listed["class"] == "candle"].groupby(["split", "label"]).head(2)
    rows = ["object,split,label,image,mask"]
    for path in some["image"]:
        write_image((tmp_path / path).with_suffix(".png"))
        (tmp_path / path).with_suffix(".png").rename(tmp_path / path)
        rows.append(f"candle,train,anomaly,{path},")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/2cls_highshot.csv").write_text("\n".join(rows))
    table = get("visa", tmp_path).samples
    assert dict(zip(table["image"], table["split"])) == dict(zip(some["image"], some["split"]))


# -- Real-IAD ---------------------------------------------------------------------------------------------------


def test_normal_views_in_ng_folders_are_normal(tmp_path: Path) -> None:
    records = make_sample("realiad", tmp_path / "x", classes=["mint"], **SMALL)
    table = get("realiad", tmp_path / "x").samples
    in_ng = table[table["image"].str.contains("/NG/")]
    assert 0 < in_ng["label"].sum() < len(in_ng)
    assert dict(zip(table["image"], table["label"])) == {one.image: one.label for one in records}


def test_a_sample_is_its_five_views_and_ids_repeat(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "x", classes=["mint"], **SMALL)
    table = get("realiad", tmp_path / "x").samples
    views = table.groupby("sample_id")["view"].agg(list)
    assert all(sorted(found) == ["C1", "C2", "C3", "C4", "C5"] for found in views)
    assert len(views) == 3 + 2 + 3
    ids = table["sample_id"].str.extract(r"/S(\d+)/")[0]
    assert ids.nunique() < len(views)  # OK/S0001 and NG/../S0001
    assert (table.groupby("sample_id")["label"].max().sum()) == 3


def test_odd_paths_are_read_not_built(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "x", classes=["audiojack", "vcpill", "fire_hood"], **SMALL)
    images = get("realiad", tmp_path / "x").samples["image"]
    assert images.str.contains("audiojack__0001_NG").any()
    assert images.str.contains("/S141/vcpill_0141_").any()
    assert images.str.contains("NG/HS/S0131/fire_hood_0131_NG_QS").any()
    assert images.map(lambda path: (tmp_path / "x" / path).is_file()).all()


def test_masks_have_the_images_stem_without_a_suffix(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "x", classes=["mint"], **SMALL)
    table = get("realiad", tmp_path / "x").samples
    bad = table[table["label"] == 1]
    assert (bad["mask"] == bad["image"].str.replace(".jpg", ".png")).all()


@pytest.mark.parametrize("resolution", ["raw", "1024", "512", "256"])
def test_any_resolution(resolution: str, tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "x", classes=["mint"], **SMALL)
    (tmp_path / "x/realiad_1024").rename(tmp_path / f"x/realiad_{resolution}")
    dataset = get("realiad", tmp_path / "x")
    assert dataset.samples["image"].str.startswith(f"realiad_{resolution}/mint/").all()
    assert f"images of realiad_{resolution}" in dataset.flags
    assert get("realiad", tmp_path / "x", resolution=resolution).samples.equals(dataset.samples)
    with pytest.raises(UserError, match="no folder of images"):
        _ = get("realiad", tmp_path / "x", resolution="512" if resolution != "512" else "256").samples


def test_single_view_lists(tmp_path: Path) -> None:
    make_sample("realiad", tmp_path / "x", classes=["mint"], **SMALL)
    content = json.loads((tmp_path / "x/realiad_jsons/mint.json").read_text())
    for split in ("train", "test"):
        content[split] = [one for one in content[split] if "_C1_" in one["image_path"]]
    (tmp_path / "x/realiad_jsons_sv").mkdir()
    (tmp_path / "x/realiad_jsons_sv/mint.json").write_text(json.dumps(content))
    dataset = get("realiad", tmp_path / "x", views="single")
    assert len(dataset.samples) == 8
    assert "single view" in dataset.flags
    (tmp_path / "x/.diadbench-sample").unlink(missing_ok=True)
    assert "cut-down" not in check("realiad", tmp_path / "x", views="single").text()  # the counts are multi-view's
    assert len(get("realiad", tmp_path / "x").samples) == 40


def test_class_order_has_underscore_after_letters() -> None:
    classes = CATALOG["realiad"].info.classes
    assert classes.index("toy") + 1 == classes.index("toy_brick")
    assert classes.index("usb") + 1 == classes.index("usb_adaptor")
    assert len(classes) == 30


# -- Uni-Medical ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["anomaly_mask", "label"])
@pytest.mark.parametrize("level", ["img", ""])
def test_bmads_documents_differ_and_all_are_accepted(masks: str, level: str, tmp_path: Path) -> None:
    for folder in ("Brain", "Liver", "Retina_RESC"):
        for i in range(2):
            write_image(tmp_path / folder / "train/good" / level / f"{i}.png")
            write_image(tmp_path / folder / "test/good/img" / f"{i}.png")
            write_image(tmp_path / folder / "test/Ungood/img" / f"{9 - i}.png")
            write_image(tmp_path / folder / "test/Ungood" / masks / f"{9 - i}.png", 255)
            write_image(tmp_path / folder / "valid/Ungood/img" / f"{i}.png")
            write_image(tmp_path / folder / "valid/good/img" / f"{i}.png")
    write_image(tmp_path / "Histopathology/train/good/img/0.png")
    write_image(tmp_path / "Histopathology/test/Ungood/img/0.png")
    table = get("unimedical", tmp_path).samples
    assert list(dict.fromkeys(table["class"])) == ["brain", "liver", "retinal"]
    assert count(table).to_numpy().tolist() == [[2, 2, 2]] * 3
    assert not table["image"].str.contains("valid").any()
    bad = table[table["label"] == 1]
    assert [Path(p).name for p in bad["mask"]] == [Path(p).name for p in bad["image"]]


# -- MVTec-3D ---------------------------------------------------------------------------------------------------


def test_train_with_or_without_validation_is_said(tmp_path: Path) -> None:
    for layout in ("owner", "ader"):
        make_sample("mvtec3d", tmp_path / layout, layout=layout, classes=["bagel"], **SMALL)
        without = get("mvtec3d", tmp_path / layout)
        both = get("mvtec3d", tmp_path / layout, validation=True)
        assert int((without.samples["split"] == "train").sum()) == 3
        assert int((both.samples["split"] == "train").sum()) == 5
        assert "trained without validation" in without.flags
        assert "trained on train + validation" in both.flags
    make_sample("mvtec3d", tmp_path / "diad", layout="diad", classes=["bagel"], **SMALL)
    with pytest.raises(UserError, match="no validation images"):
        _ = get("mvtec3d", tmp_path / "diad", validation=True).samples


@pytest.mark.parametrize("name", ["mvtec3d", "mvtec_loco"])
def test_no_list_but_aders_has_validation_images(name: str, tmp_path: Path) -> None:
    make_sample(name, tmp_path, **SMALL)
    samples = get(name, tmp_path).samples
    columns = {"image": "path"}
    samples[["image", "class", "split", "label", "mask"]].rename(columns=columns).to_csv(
        tmp_path / "samples.csv", index=False
    )
    assert get(name, tmp_path).source.startswith("list")
    with pytest.raises(UserError, match="no validation images"):
        _ = get(name, tmp_path, validation=True).samples


def test_scans_are_offered(tmp_path: Path) -> None:
    for layout in ("owner", "ader", "diad"):
        make_sample("mvtec3d", tmp_path / layout, layout=layout, classes=["bagel"], **SMALL)
        table = get("mvtec3d", tmp_path / layout).samples
        assert (table["xyz"] == table["image"].str.replace("/rgb/", "/xyz/").str.replace(".png", ".tiff")).all()
    dataset = get("mvtec3d", tmp_path / "owner")
    train, _ = DataModule(dataset, 16, channels=("rgb", "xyz")).part(dataset.parts("multi-class")[0])
    assert train[0]["image"].shape == (6, 16, 16)


def test_zero_masks_of_normal_images_are_no_masks(tmp_path: Path) -> None:
    make_sample("mvtec3d", tmp_path / "x", classes=["bagel"], **SMALL)
    assert (tmp_path / "x/bagel/test/good/gt/000.png").is_file()
    table = get("mvtec3d", tmp_path / "x").samples
    assert (table[table["label"] == 0]["mask"] == "").all()
    (tmp_path / "x/bagel/calibration").is_dir()
    shutil.rmtree(tmp_path / "x/bagel/test/good/gt")
    assert len(get("mvtec3d", tmp_path / "x").samples) == len(table)


# -- optional sets ----------------------------------------------------------------------------------------------


def test_btads_ok_folder_is_normal(tmp_path: Path) -> None:
    make_sample("btad", tmp_path / "x", classes=["01"], **SMALL)
    table = get("btad", tmp_path / "x").samples
    assert table["label"].sum() == 3
    assert set(table[table["image"].str.contains("/ok/")]["label"]) == {0}


def test_a_stem_that_ends_like_its_suffix(tmp_path: Path) -> None:
    make_sample("btad", tmp_path / "x", classes=["01"], **SMALL)
    for folder, suffix in (("test", ".bmp"), ("ground_truth", ".png")):
        home = tmp_path / "x/01" / folder / "ko"
        (home / f"0000{suffix}").rename(home / f"bump{suffix}")
    assert "01/ground_truth/ko/bump.png" in set(get("btad", tmp_path / "x").samples["mask"])


def test_locos_masks_are_united_in_both_layouts(tmp_path: Path) -> None:
    for layout in ("owner", "ader"):
        make_sample("mvtec_loco", tmp_path / layout, layout=layout, classes=["pushpins"], **SMALL)
        table = get("mvtec_loco", tmp_path / layout).samples
        folder = tmp_path / layout / table[table["label"] == 1]["mask"].iloc[0]
        assert folder.is_dir()
        union = sum(read_mask(path).astype(int) for path in sorted(folder.iterdir())) > 0
        assert (read_mask(folder) == union).all()
        assert read_mask(folder).sum() > read_mask(folder / "000.png").sum()
