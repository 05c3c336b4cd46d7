"""Every key that a method cites is in the bibliography."""

from __future__ import annotations

import re
from pathlib import Path

from diadbench.methods import catalog
from diadbench.methods.anomalib_models.names import CITATIONS, model_names


def test_every_key_is_there_once() -> None:
    text = Path(catalog.__file__).with_name("references.bib").read_text()
    keys = re.findall(r"^@\w+\{([^,]+),", text, flags=re.M)
    assert len(keys) == len(set(keys))
    cited = {entry.info.cite for entry in catalog.CATALOG.values()} - {""}
    assert cited | set(CITATIONS.values()) | {"akcay2022anomalib"} == set(keys)
    assert set(CITATIONS) <= set(model_names())
