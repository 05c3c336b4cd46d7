"""The tables of docs/scale.md on steps of a GPU are what ``perf/gpu_cost.py`` makes of the kept measurements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_docs_show_what_the_script_prints() -> None:
    command = [sys.executable, str(ROOT / "perf" / "gpu_cost.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert len(printed.splitlines()) > 20
    assert printed in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
