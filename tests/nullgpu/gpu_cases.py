"""What tests run in a child process that sees a GPU: ``python gpu_cases.py CASE '{"option": 1}'``; prints a report."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gpu_options import PADIM
from gpu_recorder import Recorder, counters

from diadbench.benchmark.cells.provenance import seed_everything
from diadbench.benchmark.cells.scoring.answering import answered, brought
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.metrics.exact.pooling import map_scores
from diadbench.methods.base import Method, Prediction, RunContext
from diadbench.methods.registry import get_class


def context(size: int, device: str = "cuda", **more: Any) -> RunContext:
    """Return a run's settings with directories of its own."""
    root = Path(tempfile.mkdtemp())  # in the directory that `run_case` removes
    (root / "run").mkdir()
    names = ("stripes0", "stripes1")
    return RunContext(0, torch.device(device), (size, size), names, root / "run", root / "cache", **more)


def mark_steps(recorder: Recorder, warm: int = 0) -> None:
    """Begin a time of the phase ``step`` at each batch that is trained on, and end it before the training's end.

    The first ``warm`` batches are another phase: they capture graphs.
    """
    from diadbench.methods.training import callbacks
    from diadbench.methods.training.saving import Checkpoints

    callbacks.HISTORY_POINTS = 1  # the points of the curves are rare in a real training, and each waits for its value
    begin, end = callbacks.SeedEachStep.on_train_batch_start, Checkpoints.on_train_end

    def marked(self: Any, trainer: Any, *args: Any) -> None:
        recorder.step("step" if trainer.global_step >= warm else "first steps")
        begin(self, trainer, *args)

    def ended(self: Any, *args: Any) -> None:
        recorder.step("end of training")
        end(self, *args)

    callbacks.SeedEachStep.on_train_batch_start = marked  # type: ignore[method-assign]
    Checkpoints.on_train_end = ended  # type: ignore[method-assign]


def method(
    recorder: Recorder,
    name: str,
    options: dict[str, Any],
    size: int = 64,
    images: int = 8,
    batch: int = 4,
    operations: bool = True,
    warm: int = 0,
) -> None:
    """Fit, save, predict, load and predict images that lie on the CPU."""
    from diadbench.methods.authoring.small_data import normal_images, small_train

    seed_everything(0, name)
    cls = get_class(name)
    run, test = context(size), normal_images(batch, 0, size=size, seed=3)
    train = small_train(2, images=images, size=size)
    with recorder.on(operations=operations):
        mark_steps(recorder, warm)
        one = cls(**options)
        recorder.step("fit")
        one.fit(train, run)
        recorder.step("save")
        one.save(run.directory)
        found = predicted(recorder, one, test)
        recorder.step("load")
        again = cls(**options)
        again.load(run.directory, context(size))
        recorder.step("predict images of the CPU")
        kept = again.predict(test)
        recorder.step("end")
    devices = [[value.device.type for value in (each.anomaly_map, each.score)] for each in (found, kept)]
    recorder.facts |= {
        "devices": devices,
        "shape": list(found.anomaly_map.shape),
        "notes": run.notes,
        "extras": run.extras,
    }


def passes(recorder: Recorder, name: str, options: dict[str, Any], size: int = 64, images: int = 40) -> None:
    """Fit; each batch of a pass over the training images is a time of the phase that the progress names."""
    from diadbench.methods.authoring.small_data import small_train

    seed_everything(0, name)
    run = context(size, progress=lambda done, total, what: recorder.step("fit" if done == total else what))
    with recorder.on():
        get_class(name)(**options).fit(small_train(2, images=images, size=size), run)


def trained(
    recorder: Recorder,
    name: str,
    options: dict[str, Any],
    size: int = 64,
    half: bool = False,
    **more: Any,
) -> None:
    """Fit alone, with further settings of the run. ``half``: float16 stands in for bfloat16 on the null GPU."""
    from diadbench.common.processes.out_of_memory import is_out_of_memory
    from diadbench.methods.authoring.small_data import small_train
    from diadbench.methods.training import gpu_memory

    if half and "NULLGPU_DIR" in os.environ:
        from lightning.pytorch.plugins.precision import MixedPrecision

        MixedPrecision.autocast_context_manager = lambda self: torch.autocast("cuda", torch.float16)  # type: ignore[method-assign,assignment]
    seed_everything(0, name)
    run = context(size, **more)
    recorder.facts |= {"notes": run.notes, "out_of_memory": False}
    try:
        get_class(name)(**options).fit(small_train(2, images=8, size=size), run)
    except Exception as error:
        recorder.facts["out_of_memory"] = is_out_of_memory(error)
        raise
    finally:
        recorder.facts["peaks"] = {str(card): peak for card, peak in gpu_memory.peaks().items()}


def predicted(recorder: Recorder, one: Method, images: torch.Tensor) -> Any:
    """Predict a batch three times, as a cell does: resizing, pooling and the copies of the results belong to it."""
    images = images.pin_memory()
    size, protocol = (images.shape[2] + 16, images.shape[3]), get_protocol("diad")
    with torch.inference_mode():
        for _ in range(3):
            recorder.step("predict")
            found = answered(one, images, torch.device("cuda"), size, protocol)
            assert found.pooled is not None, "the maps were pooled on the GPU"
        recorder.step("predict again")
    return one.predict(images.to("cuda"))


def cell(recorder: Recorder, method: str, options: dict[str, Any], size: int = 64, **grid: Any) -> None:
    """Run a grid of one cell in this process; report what it says of itself."""
    from diadbench.benchmark.planning.grid import parse_grid
    from diadbench.benchmark.records.store import RunDirectory
    from diadbench.benchmark.runs.runner import run_grid
    from tests.helpers.real_run import InProcess

    toy = {"options": {"size": size, "train": 4, "test_good": 20, "test_bad": 20}}
    values = {"methods": {"one": {"method": method, "options": options}}, "datasets": {"toy": toy}}
    path = Path(tempfile.mkdtemp()) / "run"
    run_grid(
        parse_grid({"name": "run", "image_size": size, "device": "cuda", **values, **grid}),
        path,
        engine=InProcess(),
        quiet=True,
    )
    ended = next(iter(RunDirectory(path).cells()))
    recorder.facts |= {key: ended.status.get(key) for key in ("state", "reason", "extras", "notes", "peak_memory")}


def pooling(recorder: Recorder) -> None:
    """Report how far the image scores of maps that are pooled on the GPU lie from those of a CPU."""
    maps = torch.rand(4, 256, 256, generator=torch.Generator().manual_seed(0))
    for name in ("diad", "uniad", "ader+pooled21"):
        protocol = get_protocol(name)
        found = brought(Prediction(maps.cuda(), maps.amax((1, 2)).cuda()), maps[:, None], None, protocol)
        assert found.pooled is not None
        expected = torch.from_numpy(map_scores(maps.numpy(), protocol))
        recorder.facts[name] = float((found.pooled - expected).abs().max())


def padim(recorder: Recorder) -> None:
    """Report how many images PaDiM got at a time, and whether it ever held the embeddings of all."""
    from anomalib.models.image.padim.torch_model import PadimModel

    from diadbench.methods.anomalib_models.running_gaussian import RunningGaussian
    from diadbench.methods.authoring.small_data import small_train

    added: list[int] = []
    append = RunningGaussian.append

    def counted(self: RunningGaussian, embeddings: torch.Tensor) -> None:
        append(self, embeddings)
        added.append(len(embeddings))

    def at_once(self: Any) -> None:  # called again on the null GPU, where a model's mark that it is fitted reads 0
        if self.memory_bank:
            raise RuntimeError(f"embeddings of {len(self.memory_bank)} batches were kept")

    with patch.object(RunningGaussian, "append", counted), patch.object(PadimModel, "fit", at_once):
        get_class("padim")(**PADIM).fit(small_train(2, images=8), context(64))
    recorder.facts |= {"added": added, "pinned": counters().get("h2d_pinned")}


def precision(recorder: Recorder) -> None:
    """Report which precision DiAD's ``auto`` is on this card."""
    from diadbench.methods.diad.method import DiAD

    run = context(64)
    one = DiAD(size="tiny", weights="random")
    one._budget(one.stage2, run)
    recorder.facts["precision"] = run.extras["precision"]


def seeds(recorder: Recorder) -> None:
    """Report the seed of each GPU after a step was seeded."""
    from diadbench.methods.training.callbacks import seed_torch

    torch.zeros(1, device="cuda")
    seed_torch(7)
    recorder.facts["seeds"] = [generator.initial_seed() for generator in torch.cuda.default_generators]


def conforms(recorder: Recorder, name: str, options: dict[str, Any]) -> None:
    """Run the conformance suite on the GPU."""
    from diadbench.methods.authoring.conformance import check_method

    seed_everything(0, name)
    found = [(one.name, one.status, one.text) for one in check_method(get_class(name), options, device="cuda")]
    recorder.facts["outcomes"] = found


def main() -> None:
    """Run one case and print what it reports; an error is a report too."""
    case, options = sys.argv[1], json.loads(sys.argv[2])
    torch.backends.cuda.enable_cudnn_sdp(False)  # its graphs can't be answered; flash and efficient attention can
    seed_everything(0, "")
    recorder = Recorder()
    try:
        globals()[case](recorder, **options)
    except Exception as error:
        traceback.print_exc()
        recorder.facts["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
    print("RESULT " + json.dumps(recorder.report()), flush=True)


if __name__ == "__main__":
    main()
