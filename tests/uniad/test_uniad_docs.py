"""The example of docs/uniad.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_the_python_example_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "uniad.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["maps"].shape == (1, 1, 96, 96)
    assert names["score"].shape == (1,)
