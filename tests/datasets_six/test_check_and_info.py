from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diadbench.cli import main
from diadbench.common.bibtex import bibtex
from diadbench.common.errors import UserError
from diadbench.datasets import get, get_class
from diadbench.datasets.checking.check import check
from diadbench.datasets.checking.contact_sheet import contact_sheet
from diadbench.datasets.checking.dataset_docs import markdown
from diadbench.datasets.checking.describe import guides, info_text
from diadbench.datasets.checking.describe import options as options_of
from diadbench.datasets.checking.prepare import prepare
from diadbench.datasets.decoding.data_module import DataModule
from diadbench.datasets.facts.counts import Counts
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.layouts.roots import find_root
from diadbench.datasets.samples import layouts, make_sample, sample_names

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"
SMALL = {"train": 2, "good": 1, "bad": 2, "size": 24}


@pytest.mark.parametrize(("name", "layout"), [(name, one) for name in sample_names() for one in layouts(name)])
def test_every_layout_passes_the_check(name: str, layout: str, tmp_path: Path) -> None:
    classes = None if name == "coco_ad" else CATALOG[name].info.classes[-2:]
    records = make_sample(name, tmp_path / "x", layout=layout, classes=classes, **SMALL)
    (tmp_path / "x/.diadbench-sample").unlink()  # as somebody else's sample: only its size is remarkable
    report = check(name, tmp_path / "x", size=24)
    assert report.ok, report.text()
    assert {one.kind for one in report.of("warning")} <= {"counts", "classes"}
    assert sum(sum(row.values()) for row in report.counts.values()) == len(records)
    assert report.files > 0


@pytest.mark.parametrize("name", sample_names())
def test_a_sample_goes_the_way_to_tensors(name: str) -> None:
    """What every cell does first with ``root: sample``: fingerprint, cache, tensors of each part."""
    dataset = get(name, find_root(name, root="sample"))
    module = DataModule(dataset, 16)
    assert len(module.fingerprint) >= 16
    for part in dataset.parts("multi-class"):
        train, test = module.part(part)
        labels = np.concatenate([batch.label.numpy() for batch in test.batches(16)])
        assert train[0]["image"].shape == (3, 16, 16)
        assert set(labels) == {0, 1}
    assert len(dataset.parts("multi-class")) == (4 if name == "coco_ad" else 1)


def test_an_incomplete_download_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sample("mpdd", tmp_path / "x", classes=["tubes"], **SMALL)
    (tmp_path / "x/.diadbench-sample").unlink()
    right = {"tubes": Counts(2, 1, 2)}
    monkeypatch.setattr("diadbench.datasets.checking.check.published", lambda name: [("MPDD", right)])
    assert check("mpdd", tmp_path / "x").ok
    (tmp_path / "x/tubes/train/good/001.png").unlink()
    report = check("mpdd", tmp_path / "x")
    assert not report.ok
    assert re.search(r"tubes: 1 training, 1 normal and 2 anomalous.*published: 2, 1, 2", report.text())
    right["tubes"] = Counts(200, 100, 200)
    report = check("mpdd", tmp_path / "x")
    assert report.ok
    assert "a cut-down copy" in report.text()
    assert report.exit_code(strict=True) == 1


def test_a_known_variant_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sample("mpdd", tmp_path / "x", classes=["tubes"], **SMALL)
    (tmp_path / "x/.diadbench-sample").unlink()
    variants = [("MPDD", {"tubes": Counts(3, 1, 2)}), ("MPDD (one short)", {"tubes": Counts(2, 1, 2)})]
    monkeypatch.setattr("diadbench.datasets.checking.check.published", lambda name: variants)
    report = check("mpdd", tmp_path / "x")
    assert report.ok
    assert "known variant: MPDD (one short)" in report.text()


def test_check_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "x")
    assert main(["datasets", "make-sample", "visa", "--out", root, "--classes", "pcb1", "--size", "24"]) == 0
    assert main(["datasets", "check", "visa", "--root", root]) == 0
    assert "ok: 0 errors" in capsys.readouterr().out
    (tmp_path / "x/pcb1/Data/Images/Anomaly/001.JPG").write_bytes(b"")
    assert main(["datasets", "check", "visa", "--root", root, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert "001.JPG" in report["findings"][0]["what"]
    assert main(["datasets", "check", "visa", "--root", str(tmp_path / "none")]) == 2
    assert main(["datasets", "check", "vsa"]) == 2
    assert "did you mean visa" in capsys.readouterr().err
    assert main(["datasets", "make-sample", "visa", "--out", root]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_sample_that_cannot_be(tmp_path: Path) -> None:
    for options, says in (
        ({"layout": "adder"}, "did you mean ader"),
        ({"classes": ["botle"]}, "did you mean bottle"),
        ({"train": 0}, "train 0: expected 1 or more"),
        ({"full": True}, "realiad only"),
    ):
        with pytest.raises(UserError, match=says):
            make_sample("mvtec", tmp_path / "x", **options)  # type: ignore[arg-type]


def test_info_and_contact_sheet(tmp_path: Path) -> None:
    make_sample("visa", tmp_path / "x", classes=["pcb1", "candle"], **SMALL)
    target = contact_sheet("visa", tmp_path / "x", tmp_path / "sheet")
    sheet = np.array(Image.open(target))
    assert target.suffix == ".png"
    assert sheet.shape == (2 * 144, 4 * 128, 3)
    mask = sheet[16:144, 3 * 128 :]
    assert set(np.unique(mask)) == {0, 255}  # VisA's small values are made visible
    assert sheet[20:140, 10:100].std() > 5
    for name, entry in CATALOG.items():
        text = info_text(name)
        assert entry.info.title in text
        assert entry.info.licence in text
        assert "\n\n\n" not in text
    with pytest.raises(UserError, match="did you mean visa"):
        info_text("vis")


@pytest.mark.parametrize("name", list(CATALOG))
def test_every_option_is_explained(name: str) -> None:
    known = [key for key in inspect.signature(get_class(name)).parameters if key != "root"]
    found = options_of(name)
    assert [option.partition("=")[0] for option, _ in found] == known
    text, docs = info_text(name), DOCS.read_text()
    for option, about in found:
        assert len(about) > 10, option
        assert f"{option}: {about}" in text
        assert f"- `{option}`: {about}" in docs


def test_every_kind_of_finding_is_in_the_docs() -> None:
    home = Path(check.__code__.co_filename).parent
    source = "".join(path.read_text() for path in sorted(home.glob("*.py")))
    kinds = set(re.findall(r"report\.add\(\s*(?:\"\w+\"[^,]*),\s*\"([\w-]+)\"", source))
    assert {"structure", "counts", "file", "unread"} <= kinds
    for kind in kinds:
        assert f"| `{kind}` |" in DOCS.read_text(), kind


def test_every_citation_is_there() -> None:
    for name, entry in CATALOG.items():
        if entry.info.cite:
            assert bibtex("datasets", entry.info.cite).startswith("@"), name
    assert bibtex("datasets", "zou2022spot").endswith("}")


def test_prepare_writes_nothing_into_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mpdd", "coco_ad"):
        root = tmp_path / name
        make_sample(name, root, classes=None if name == "coco_ad" else ["tubes"], **SMALL)
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        told: list[str] = []
        made = prepare(name, root, size=16, progress=lambda done, total, what, told=told: told.append(what))
        assert made.samples == len(get(name, root).samples)
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
        assert told
    assert main(["datasets", "prepare", "mpdd", "--root", str(tmp_path / "mpdd"), "--size", "16"]) == 0
    assert "5 samples of 1 classes at 16 px" in capsys.readouterr().out


def test_the_docs_are_the_guides() -> None:
    text = DOCS.read_text()
    assert markdown() in text, (
        "docs/datasets.md is behind: diadbench.datasets.checking.dataset_docs.markdown() prints it"
    )
    assert set(guides()) == {name for name, entry in CATALOG.items() if entry.folders}


def test_the_docs_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```bash\n(.*?)```", DOCS.read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("diadbench")]
    assert len(commands) >= 5
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command


def test_the_docs_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), {})


def test_options_of_the_dataset_are_options_of_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    root = str(tmp_path / "m3d")
    assert main(["datasets", "make-sample", "mvtec3d", "--out", root, "--size", "24"]) == 0
    counts = []
    for words in ([], ["validation=true"], ["classes=[bagel]"]):
        capsys.readouterr()
        assert main(["datasets", "prepare", "mvtec3d", *words, "--root", root, "--size", "24"]) == 0
        counts.append(int(capsys.readouterr().out.split()[0]))
    assert counts[1] > counts[0] > counts[2]
    assert main(["datasets", "check", "mvtec3d", "classes=[bagel]", "--root", root]) == 0
    for word, said in (("valdation=true", "did you mean validation"), ("validation=maybe", "validation")):
        assert main(["datasets", "check", "mvtec3d", word, "--root", root]) == 2
        assert said in capsys.readouterr().err
