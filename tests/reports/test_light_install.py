"""Metrics and reports need no torch, lightning, timm, diffusers or anomalib: they work where these aren't installed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from diadbench.common.errors import DISTRIBUTIONS, told_of_missing_package
from tests.helpers.real_run import make_run

ROOT = Path(__file__).resolve().parents[2]
#: Import names of what is not there.
ABSENT = (
    "torch", "torchvision", "torchmetrics", "lightning", "pytorch_lightning", "timm", "diffusers", "anomalib",
    "transformers", "huggingface_hub", "safetensors", "cv2", "psutil", "loky", "tifffile",
)  # fmt: skip
WITHOUT = f"""
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
USED = """
import numpy as np
import diadbench
from diadbench.benchmark import metrics
from diadbench.cli import main

maps = np.linspace(0, 1, 4 * 256, dtype=np.float32).reshape(4, 16, 16)
masks = maps > 0.6
found = {"plain": metrics.evaluate(maps=maps, masks=masks)}
run = diadbench.open_run(sys.argv[1])
found["rows"] = len(run.results())
found["codes"] = [main(["report", sys.argv[1], "--out", sys.argv[2]])]
found["codes"] += [main(words) for words in (["table", sys.argv[1]], ["compare", sys.argv[1]], ["status", sys.argv[1]])]
from importlib.metadata import packages_distributions
homes = packages_distributions()
found["packages"] = sorted({each for name in sys.modules for each in homes.get(name.partition(".")[0], [])})
print("FOUND", json.dumps(found))
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *words],
        env=environment, check=False, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def documented() -> set[str]:
    text = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^pip install (docstring-parser .*)$", text, flags=re.M)
    return {normal(name) for name in line.split()}


def test_metrics_and_reports_work_without_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", methods=("DiAD", "padim"), datasets={"elpv": ["mono", "poly"]}, seeds=(0, 1))
    done = python(USED, str(run.path), str(tmp_path / "report"))
    assert "FOUND" in done.stdout, done.stderr[-2000:]
    found = json.loads(done.stdout.partition("FOUND")[2])
    assert found["plain"]["p_auroc"] == 1.0
    assert found["rows"] > 0
    assert found["codes"] == [0, 0, 0, 0]
    for name in ("results.xlsx", "main.tex", "results.csv", "index.html", "figures", "tables/summary.md"):
        assert (tmp_path / "report" / name).exists(), name
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    direct = {normal(re.split(r"[<>=]", entry)[0]) for entry in declared}
    assert {normal(name) for name in found["packages"]} & direct <= documented()
    assert documented() <= direct


@pytest.mark.parametrize(
    ("words", "package"),
    [(["run", "demo", "--out", "RUN"], "torch"), (["doctor", "demo"], "psutil"), (["methods", "info", "diad"], "")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
@pytest.mark.usefixtures("toy_of_demo")
def test_a_command_that_needs_one_says_so_in_one_line(tmp_path: Path, words: list[str], package: str) -> None:
    code = f"from diadbench.cli import main\nsys.exit(main({[str(tmp_path / w) if w == 'RUN' else w for w in words]}))"
    done = python(code)
    assert "Traceback" not in done.stderr
    if package:
        assert done.returncode == 2
        assert re.search(rf"^diadbench: .*{package}.* pip install '.+'$", done.stderr, flags=re.M), done.stderr


def test_a_dry_run_without_an_extra_lists_what_is_missing(tmp_path: Path) -> None:
    words = ["run", "--method", "mean-image", "--dataset", "coco_ad", "datasets.coco_ad.root=sample", "--dry-run"]
    code = WITHOUT.replace(repr(ABSENT), "{'pycocotools'}")
    code += f"from diadbench.cli import main\nsys.exit(main({[*words, '--out', str(tmp_path / 'run')]}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIADBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "(1) COCO-AD needs pycocotools; install it with: pip install 'diadbench[coco]'" in done.stdout
    assert "missing" in done.stdout


def test_each_requirement_has_a_line_with_its_command() -> None:
    def told(name: str) -> str | None:
        return told_of_missing_package(ModuleNotFoundError(name, name=name))

    assert told("torch") == "the package torch isn't installed, which this needs; pip install 'torch>=2.5'"
    assert str(told("cv2")).endswith("pip install 'opencv-python-headless>=4.10'")
    assert str(told("pycocotools")).endswith("pip install 'diadbench[coco]'")
    assert str(told("mlflow")).endswith("pip install 'diadbench[loggers]'")
    assert told("a_module_of_the_user") is None
    assert told("torch.what_a_later_version_has") is None
    assert told_of_missing_package(ImportError("cannot import name", name="torch")) is None
    required = {normal(re.split(r"[\[<>=!~ ;]", text)[0]) for text in importlib.metadata.requires("diadbench") or []}
    assert {normal(name) for name in DISTRIBUTIONS.values()} <= required


def test_a_cell_and_a_later_evaluation_import_no_trainer(tmp_path: Path) -> None:
    """Each cell is a process, whose start all methods would pay for: half as much memory again, and seconds."""
    code = """
import sys
from tests.helpers.real_run import make_run
make_run(sys.argv[1], methods=["Two"], datasets={"parts": ["nut"]}, seeds=[0], keep_maps="float32")
import diadbench.benchmark.reuse.predict, diadbench.benchmark.reuse.reevaluate
heavy = ("lightning", "anomalib", "diffusers", "timm", "matplotlib", "torchvision", "ray")
print("FOUND", [name for name in heavy if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIADBENCH_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-c", code, str(tmp_path / "run")]
    found = subprocess.run(words, env=environment, check=True, capture_output=True, text=True, encoding="utf-8")
    assert found.stdout.splitlines()[-1] == "FOUND []"
