"""The LaTeX of a report compiles alone, whatever methods, classes and datasets are called."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diadbench.reports import build

HOSTILE = ("DiAD", r"a_b&c%d#e$f~g^h\i<j=k", "=cmd|' /C calc'!A0", "方法一", "{}%", r"\end{document}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex isn't installed (apt install texlive)")
def test_it_compiles_with_hostile_names(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run_#1 % & 跑",
        methods=HOSTILE,
        datasets={"mv_tec": ["x_1 & y", "瓶子", "[2em]", "*", "a%b", "é~^"], r"集 #1 \end{document}": ["only"]},
        seeds=(0, 1),
        without_masks=[r"集 #1 \end{document}"],
        ends={("mv_tec", "方法一", 1): {"raises": "内存 out_of & memory 100% #1 $x^2 \\ ~"}},
        notes={"DiAD": "reduced budget: 5_% of ~ 千步"},
        images=8,
    )
    folder = build(run.path, ["latex"], tmp_path / "report")["main.tex"].parent
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"],
            cwd=folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (folder / "main.log").read_text(errors="replace")
    warnings = [line for line in log.splitlines() if "Warning" in line or line.startswith("Overfull")]
    assert not warnings, warnings
    assert (folder / "main.pdf").stat().st_size > 10_000
