"""The examples of docs/metrics.md run, and its table is what the engine gives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from diadbench.benchmark.metrics import PROTOCOLS, evaluate
from diadbench.benchmark.metrics.names import PLAIN
from tests.helpers.scripts import script

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "metrics.md").read_text()


def test_examples_run(capsys):
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(block, names)
    assert "p_auroc" in capsys.readouterr().out
    assert all(f"`{name}`" in TEXT for name in PROTOCOLS)


@pytest.mark.slow
def test_the_table_is_what_the_engine_gives():
    module = script("perf/metrics.py")
    maps, masks = module.synthetic(83)
    rows = re.findall(r"^\| `([\w-]+)` \| ((?:[\d.]+|-) .*?) \|$", TEXT, re.MULTILINE)
    rows = [(name, cells.split(" | ")) for name, cells in rows if re.match(r"\d\.\d{6}", cells)]
    assert len(rows) == 7
    for name, cells in rows:
        found = evaluate(maps, masks, protocol=name)
        for key, cell in zip(PLAIN, cells, strict=True):
            assert np.isnan(found[key]) if cell == "-" else found[key] == pytest.approx(float(cell), abs=6e-7)
