"""A few figures of every method on tiny images, to notice when its results change.

After a change that is meant, raise ``version`` in the method's ``MethodInfo`` and write the figures again::

    python tests/helpers/method_figures.py [NAME ...]

It refuses to write other figures under the same version.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from diadbench.benchmark.cells.provenance import seed_everything, version_of
from diadbench.methods.authoring.conformance import SMALL_OPTIONS
from diadbench.methods.authoring.small_data import anomalous_images, small_train
from diadbench.methods.base import RunContext
from diadbench.methods.catalog import CATALOG
from diadbench.methods.registry import get_class

PATH = Path(__file__).parents[1] / "methods" / "method_figures.json"
SIZE = 64
#: anomalib models through the bridge that stand for all: one that keeps a memory, one that is trained by gradient.
BRIDGED: dict[str, dict[str, Any]] = {
    "anomalib:Padim": {
        "backbone": "tf_efficientnet_lite0",
        "weights": "package",
        "layers": ["blocks.1", "blocks.2"],
        "n_features": 20,
    },
    "anomalib:Ganomaly": {"max_steps": 3, "batch_size": 4},
}
#: Without those whose answers were made elsewhere.
NAMES = [*(name for name, entry in CATALOG.items() if not entry.info.by_sample), *BRIDGED]
#: Relative; what is trained by gradient carries the rounding of another processor further.
TOLERANCE = 1e-6
TRAINED_TOLERANCE = 1e-4
TRAINED = ("uniad", "draem", "diad", "anomalib:Ganomaly")


def measure(name: str) -> dict[str, Any]:
    """Return version, packages and figures of one method: the scores and, of each map, mean and largest value."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures = _figures(name)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    info = get_class(name).info
    packages = {package: version_of(package) for package in info.packages}
    return {"version": info.version, "packages": packages, "figures": figures}


def _figures(name: str) -> list[float]:
    train = small_train(images=4, size=SIZE)
    test = torch.cat([anomalous_images(2, class_id, size=SIZE)[0] for class_id in range(2)])
    method = get_class(name)(**SMALL_OPTIONS.get(name, BRIDGED.get(name, {})))
    with tempfile.TemporaryDirectory() as place:
        seed_everything(0, "")
        run = RunContext(
            seed=0,
            device=torch.device("cpu"),
            image_size=train.image_size,
            class_names=train.class_names,
            directory=Path(place) / "run",
            cache_dir=Path(place) / "cache",
            threads=1,
        )
        run.directory.mkdir()
        method.fit(train, run)
        with torch.inference_mode():
            found = method.predict(test)
    maps = found.anomaly_map.double()
    return [*found.score.double().tolist(), *maps.mean((1, 2)).tolist(), *maps.amax((1, 2)).tolist()]


def differs(name: str, old: list[float], new: list[float]) -> float:
    """Return the largest difference relative to the largest figure, 0 when it is below the method's tolerance."""
    scale = max(abs(value) for value in old)
    most = max(abs(one - other) for one, other in zip(old, new, strict=True)) / scale
    return most if most > (TRAINED_TOLERANCE if name in TRAINED else TOLERANCE) else 0.0


def stored() -> dict[str, dict[str, Any]]:
    """Return the stored figures by method."""
    found: dict[str, dict[str, Any]] = json.loads(PATH.read_text()) if PATH.is_file() else {}
    return found


def main(names: list[str]) -> None:
    """Measure methods and write their figures."""
    known = stored()
    for name in names or NAMES:
        new, old = measure(name), known.get(name)
        same = old is not None and (old["version"], old["packages"]) == (new["version"], new["packages"])
        if old is not None and same and differs(name, old["figures"], new["figures"]):
            sys.exit(f"{name}: its figures changed, its version is still {new['version']}: raise MethodInfo.version")
        known[name] = new
    PATH.write_text(json.dumps({name: known[name] for name in sorted(known)}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
