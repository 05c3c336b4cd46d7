from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from diadbench.common.errors import UserError
from diadbench.datasets import get
from diadbench.datasets.facts.known_sets import CATALOG
from diadbench.datasets.layouts.roots import config_file, find_root, where
from diadbench.datasets.samples import make_sample


def write_config(text: str) -> None:
    config_file().parent.mkdir(parents=True)
    config_file().write_text(text)


def test_order_of_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grid", "env", "user"):
        (tmp_path / name / "VisA").mkdir(parents=True)
    assert find_root("visa") is None
    write_config(f"data_root: {tmp_path / 'user'}\ndatasets:\n  mvtec: {tmp_path / 'elsewhere'}\n")
    assert find_root("visa") == tmp_path / "user" / "VisA"
    assert find_root("mvtec") == tmp_path / "elsewhere"
    monkeypatch.setenv("DIADBENCH_DATA", str(tmp_path / "env"))
    assert find_root("visa") == tmp_path / "env" / "VisA"
    assert find_root("visa", data_root=tmp_path / "grid") == tmp_path / "grid" / "VisA"
    assert find_root("visa", root=tmp_path / "own", data_root=tmp_path / "grid") == tmp_path / "own"


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.folders])
def test_every_usual_folder_name(name: str, tmp_path: Path) -> None:
    for i, folder in enumerate(CATALOG[name].folders):
        for above in ("", "data/"):
            (tmp_path / str(i) / above / folder).mkdir(parents=True, exist_ok=True)
        assert find_root(name, data_root=tmp_path / str(i)) == tmp_path / str(i) / folder
        assert CATALOG[name].folders[0] == CATALOG[name].info.folder


def test_a_data_root_without_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mvtec.*not found in .*data_root.*MVTec-AD.*give its `root`"):
        find_root("mvtec", data_root=tmp_path)
    assert find_root("toy", data_root=tmp_path) is None  # makes its own
    assert where("mvtec", tmp_path) == "not found"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data_rot: /x", "data_rot.*did you mean data_root"),
        ("- a", "expected keys data_root and datasets"),
        ("datasets: [a]", "name: /path"),
        ("data_root: [1]", "data_root: expected a path"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_user_file(text: str, says: str) -> None:
    write_config(text)
    with pytest.raises(UserError, match=says) as caught:
        find_root("mvtec")
    assert str(config_file()) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_root_sample_is_made_once_and_marked() -> None:
    root = find_root("mpdd", root="sample")
    assert root is not None
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert find_root("mpdd", root="sample") == root
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    dataset = get("mpdd", root)
    assert dataset.classes == CATALOG["mpdd"].info.classes
    assert "synthetic sample data" in dataset.flags
    assert not [path for path in root.parent.iterdir() if path.name.startswith(".")], "a temporary folder is left"


def test_real_data_is_not_marked(tmp_path: Path) -> None:
    make_sample("mpdd", tmp_path / "x", train=1, good=1, bad=1, size=16)
    (tmp_path / "x" / ".diadbench-sample").unlink()
    assert "synthetic sample data" not in get("mpdd", tmp_path / "x").flags


def test_list_is_quick_and_light() -> None:
    code = (
        "import sys; from diadbench.cli.commands.cmd_datasets import list_datasets; list_datasets();"
        "heavy = {'torch', 'pandas', 'numpy', 'PIL'} & set(sys.modules); assert not heavy, heavy"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took = time.perf_counter() - begin
    assert all(name in done.stdout for name in CATALOG)
    assert took < 10  # wall time on a busy machine; what keeps it short is asserted above
