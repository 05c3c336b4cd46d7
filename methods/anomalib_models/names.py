"""Names of anomalib's models, read from its source, because importing anomalib takes ten seconds; facts by name."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

#: BibTeX keys (``methods/references.bib``) of models that have a paper.
CITATIONS: dict[str, str] = {
    "AiVad": "reiss2022aivad",
    "AnomalyDINO": "damm2025anomalydino",
    "Cfa": "lee2022cfa",
    "Cflow": "gudovskiy2022cflow",
    "CFM": "costanzino2024cfm",
    "Csflow": "rudolph2022csflow",
    "Dfm": "ahuja2019dfm",
    "Dinomaly": "guo2025dinomaly",
    "Draem": "zavrtanik2021draem",
    "Dsr": "zavrtanik2022dsr",
    "EfficientAd": "batzner2024efficientad",
    "Fastflow": "yu2021fastflow",
    "Fre": "ndiour2022fre",
    "Ganomaly": "akcay2018ganomaly",
    "GeneralAD": "strater2024generalad",
    "Glass": "chen2024glass",
    "InpFormer": "luo2025inpformer",
    "Padim": "defard2021padim",
    "Patchcore": "roth2022patchcore",
    "ReverseDistillation": "deng2022reverse",
    "Stfpm": "wang2021stfpm",
    "Supersimplenet": "rolih2024supersimplenet",
    "Uflow": "tailanian2024uflow",
    "UniNet": "wei2025uninet",
    "WinClip": "jeong2023winclip",
}

#: Models whose prediction of an image depends on the images beside it: what they compute over a batch, as a note.
BY_BATCH: dict[str, str] = {
    "Cflow": (
        "Cflow's likelihoods are measured against the highest one of a batch (in its authors' code: of the whole test "
        "set), so a map depends on the images beside it and on batch_size"
    ),
}


@cache
def model_names() -> tuple[str, ...]:
    """Return the sorted names of the models that the installed anomalib exports; none if it isn't installed."""
    spec = importlib.util.find_spec("anomalib")
    if spec is None or spec.origin is None:
        return ()
    source = Path(spec.origin).parent / "models" / "__init__.py"
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            exported = ast.literal_eval(node.value)
            return tuple(sorted(name for name in exported if name[:1].isupper() and not name.endswith("Error")))
    return ()


def batch_notes(name: str) -> list[str]:
    """Return the note on a model whose predictions depend on the batch; none for others."""
    return [BY_BATCH[name]] if name in BY_BATCH else []
