"""One training step and one prediction of a method at full size: a process of its own, ``python -m ... FILE``.

``FILE`` is JSON: ``method``, ``options``, ``image_size``, ``batch_size``, ``images``, ``device``, ``threads``. What is
measured is written beside it line by line, so that a process which is ended early has told what it knew by then.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.benchmark.cells.meter import Meter

if TYPE_CHECKING:
    from diadbench.methods.base import Method


def told(file: Path) -> dict[str, Any]:
    """Return what the trial of a file has told until now."""
    try:
        lines = file.with_suffix(".told").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key: value for line in lines for key, value in json.loads(line).items()}


class _Clock:
    """Notes when a method tells of its progress: the seconds between the first and the last word of each kind."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[int, float]]] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        self.seen.setdefault(what, []).append((done, time.perf_counter()))

    def pace(self, what: str) -> float | None:
        """Return the seconds of a unit of progress; ``None`` where it was told of less than twice."""
        words = self.seen.get(what, [])
        if len(words) < 2 or words[-1][0] <= words[0][0]:
            return None
        return (words[-1][1] - words[0][1]) / (words[-1][0] - words[0][0])


def main(words: list[str] | None = None) -> int:
    """Try a method."""
    file = Path((sys.argv[1:] if words is None else words)[0])
    asked = json.loads(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        _try(asked, file.with_suffix(".told"), Path(folder))
    return 0


def _try(asked: dict[str, Any], out: Path, folder: Path) -> None:
    import torch

    from diadbench.benchmark.cells.provenance import seed_everything
    from diadbench.methods.authoring.small_data import SmallData, normal_images
    from diadbench.methods.base import RunContext

    torch.set_num_threads(asked["threads"])
    seed_everything(0, asked["method"], tf32=asked["tf32"])  # as a cell computes
    device, (height, width) = torch.device(asked["device"]), asked["image_size"]
    images = normal_images(asked["images"], 0, size=max(height, width))[:, :, :height, :width].contiguous()
    _keep_no_checkpoint()
    clock = _Clock()
    run = RunContext(0, device, (height, width), ("part",), folder, folder, asked["threads"], progress=clock)
    train = SmallData(images, torch.zeros(len(images), dtype=torch.int64), ("part",))
    method = _made(asked["method"], asked["options"])
    with Meter() as meter:
        before = time.perf_counter()
        method.fit(train, run)
        _synchronise(device)
        fit = time.perf_counter() - before
    facts = {"fit": fit, "step": clock.pace("train"), "pick": clock.pace("coreset"), **meter.result()["peak_memory"]}
    counted: dict[str, Any] = {key: run.extras[key] for key in ("patches", "coreset_size") if key in run.extras}
    _tell(out, {**facts, **counted, "parameters": method.parameters_count()})
    with Meter() as meter:
        if device.type != "cpu":
            method.predict(images[: asked["batch_size"]].to(device))  # its kernels are chosen and compiled
            _synchronise(device)
        before = time.perf_counter()
        method.predict(images[: asked["batch_size"]].to(device))
        _synchronise(device)
        seconds = (time.perf_counter() - before) / min(asked["batch_size"], len(images))
    memory = meter.result()["peak_memory"]
    most = {key: max(memory[key] or 0, facts[key] or 0) for key in ("cpu_bytes", "gpu_bytes")}
    _tell(out, {"test_image": seconds, **most})


def _made(name: str, options: dict[str, Any]) -> Method:
    """Return the method; DiAD with random weights is trained in those parts alone that it is with pretrained ones."""
    from diadbench import methods

    if name != "diad":
        return methods.get_class(name)(**options)
    from diadbench.methods.diad.method import DiAD
    from diadbench.methods.diad.networks.model import DiADModel

    class _AsPretrained(DiAD):
        def start_model(self, run: Any) -> DiADModel:
            model = super().start_model(run)
            model.train_encoder = False
            return model

    return _AsPretrained(**options)


def _keep_no_checkpoint() -> None:
    """Let trainings of this process write no checkpoint: DiAD's has many gigabytes, and nobody goes on from it."""
    from diadbench.methods.training.saving import Checkpoints

    Checkpoints.written = False


def _synchronise(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _tell(out: Path, facts: dict[str, Any]) -> None:
    with open(out, "a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
