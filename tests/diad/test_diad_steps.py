"""``diadbench diad``, from nothing to pictures, with networks that learn nothing in three steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from diadbench.cli import main
from diadbench.methods.diad.checkpoints import export

STEPS = ["autoencoder_steps=2", "train_steps=2", "steps=2", "batch_size=2", "autoencoder_batch_size=2"]
COMMON = ["--config", "diad-tiny", "--options", *STEPS]
DATASET = """
from diadbench.datasets.toy.dataset import Toy


class Few(Toy):
    def __init__(self, root=None):
        super().__init__(root, size=64, train=2, test_good=1, test_bad=1)
"""


@pytest.mark.slow
def test_all_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIADBENCH_CACHE", str(tmp_path / "cache"))
    Path("few.py").write_text(DATASET)
    data, out = "few.py:Few", ["--out", "mine", *COMMON]
    assert main(["diad", "train", data, *out]) == 2
    assert "diad build" in capsys.readouterr().err
    assert main(["diad", "autoencoder", data, *out]) == 0
    assert main(["diad", "build", *out]) == 0
    assert main(["diad", "train", data, *out]) == 0
    assert main(["diad", "train", data, *out]) == 0  # done already: only loads its last checkpoint
    assert main(["diad", "test", data, *out]) == 0
    assert "p_auroc" in capsys.readouterr().out
    table = pd.read_csv("mine/test/metrics.csv")
    assert set(table["class"]) == {"washer", "weave", "tile", "capsule"}
    figures = list(Path("mine/test/images").rglob("figure.png"))
    assert len(figures) == len(pd.read_csv("mine/test/images.csv"))
    for name in ("input", "reconstruction", "heat", "overlay", "mask"):
        assert (figures[0].parent / f"{name}.png").is_file()

    for name in ("autoencoder/before_after", "autoencoder/losses", "model/losses", "test/denoising-weave"):
        assert Path(f"mine/{name}.png").stat().st_size > 0
    assert main(["diad", "compare", data, *out]) == 0
    compared = pd.read_csv("mine/compare.csv").set_index("way")
    assert list(compared.index) == ["plain float32", "channels-last", "bfloat16"]
    assert compared["largest"]["plain float32"] == 0
    assert compared["largest"]["channels-last"] < 1e-4 < compared["largest"]["bfloat16"] < 1

    kept = {path: path.stat().st_mtime_ns for path in Path("mine/test/raw").iterdir()}
    gone = min(kept)
    gone.unlink()
    assert main(["diad", "test", data, *out]) == 0
    assert [path for path in kept if path.stat().st_mtime_ns != kept[path]] == [gone]
    pd.testing.assert_frame_equal(pd.read_csv("mine/test/metrics.csv"), table)

    export(Path("mine/model"), "official", Path("theirs.ckpt"))
    assert main(["diad", "test", data, "--checkpoint", "theirs.ckpt", "--out", "theirs", *COMMON]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("theirs/test/metrics.csv"), table)
