"""An archive of a run in the hands of another: another directory, another user, and nothing of the first machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_run import InProcess, write_images

from diadbench.benchmark.planning.grid import parse_grid
from diadbench.benchmark.records.store import RunDirectory, load_results
from diadbench.benchmark.reuse.predict import predict_images
from diadbench.benchmark.runs.runner import run_grid
from diadbench.benchmark.sharing.pack import pack
from diadbench.reports import build

NOBODY = 65534
FIGURES = ["dataset", "method", "seed", "class", "scope", "metric", "value", "state"]
METHOD = Path(__file__).parents[1] / "helpers" / "pixel_mean.py"
#: What the other user does, in one process; each command's exit status is printed.
COMMANDS = """
import shutil, sys, tarfile
from pathlib import Path
from diadbench.cli import main

archive, data = sys.argv[1:]
tarfile.open(archive).extractall(".", filter="data")
cell = "run/cells/parts/mine/multi-class/seed"
def done(*words): print("STATUS", words[0], main(list(words)), flush=True)
done("report", "run", "--out", "report")
done("predict", cell + "0", "--images", data + "/nut/test/hole", "--out", "found")
done("rerun", cell + "0", "--compare", "--root", data)
done("run", "run", "datasets.parts.root=" + data, "--no-report")
print("STATUS kept", (Path(cell + "1") / "status.json").stat().st_mtime, flush=True)
shutil.rmtree(cell + "1")
done("run", "run", "datasets.parts.root=" + data, "--no-report")
"""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can become another user, by setpriv",
)


def another_user() -> list[str]:
    """Return the beginning of a command as another user, who may read all if Python lies in a private folder."""
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    same = f"import sys, diadbench; sys.exit(sys.base_prefix != {sys.base_prefix!r})"
    if subprocess.run([*plain, sys.executable, "-c", same], check=False, capture_output=True).returncode == 0:
        return plain
    return [*plain, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may read, with one in it that is the other user's; pytest's own are for one user."""
    made = Path(tempfile.mkdtemp(prefix="diadbench-public-"))
    made.chmod(0o755)
    (made / "there").mkdir()
    os.chown(made / "there", NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


def test_it_reports_predicts_repeats_and_goes_on(tmp_path: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = public / "there"
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    write_images(home / "data", ["nut", "bolt"], 6)
    (home / "mine.py").write_text(
        METHOD.read_text(encoding="utf-8").replace("* self.scale", "* self.scale * FACTOR")
        + "\n\nfrom factor_of_mine import FACTOR\n",
        encoding="utf-8",
    )
    (home / "factor_of_mine.py").write_text("FACTOR = 2.0\n", encoding="utf-8")
    values = {"name": "mine", "methods": {"mine": {"method": f"{home / 'mine.py'}:PixelMean"}}, "seeds": [0, 1],
              "datasets": {"parts": {"dataset": "folder", "root": str(home / "data")}},
              "image_size": 32, "device": "cpu", "threads": 1}  # fmt: skip
    assert not run_grid(parse_grid(values), home / "run", engine=InProcess(), quiet=True).failed
    figures = load_results(home / "run")[FIGURES]
    first = build(home / "run", formats=["csv", "latex"], out=tmp_path / "report")
    tables = {name: path.read_text(encoding="utf-8") for name, path in first.items() if name.startswith("tables/")}
    cell = RunDirectory(home / "run").cell("parts", "mine", "multi-class", 0).directory
    images = home / "data" / "nut" / "test" / "hole"
    scores = pd.read_csv(predict_images(cell, images, tmp_path / "before").scores)

    archive = pack(home / "run", public / "mine.tar.gz")
    data = shutil.move(home / "data", public / "data of the other")
    shutil.rmtree(home)
    shutil.rmtree(tmp_path / "cache")
    variables = {"HOME": str(there), "DIADBENCH_CACHE": str(there / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*another_user(), sys.executable, "-P", "-c", COMMANDS, str(archive), str(data)],
        env={**os.environ, **variables}, cwd=there, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("STATUS")]
    assert [words[:2] for words in said if words[0] != "kept"] == [
        ["report", "0"], ["predict", "0"], ["rerun", "0"], ["run", "0"], ["run", "0"]
    ], done.stdout + done.stderr  # fmt: skip
    assert "every figure is the same" in done.stdout

    again = {name: (there / "report" / name).read_text(encoding="utf-8") for name in tables}
    assert again == tables
    pd.testing.assert_frame_equal(pd.read_csv(there / "found" / "scores.csv"), scores)
    other = RunDirectory(there / "run")
    pd.testing.assert_frame_equal(load_results(other.path)[FIGURES], figures, check_exact=True)
    assert {path.stat().st_uid for path in there.rglob("*")} == {NOBODY}
    packed = other.cell("parts", "mine", "multi-class", 1).directory / "status.json"
    [kept] = [words for words in said if words[0] == "kept"]
    assert packed.stat().st_mtime > float(kept[1]), "the lost cell was run again"
