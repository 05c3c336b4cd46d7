"""The conformance suite: requirements of every method, checked on a few small images in under a minute.

On the command line: ``diadbench methods check my_method.py:MyMethod``. In an author's own tests::

    from diadbench.methods.authoring.conformance import assert_conforms

    def test_my_method():
        assert_conforms(MyMethod)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from diadbench.common.errors import Skip, UserError, one_line
from diadbench.common.processes.tf32 import full_float32
from diadbench.methods.authoring.bench import Bench, CheckFailed
from diadbench.methods.authoring.checks import CHECKS, GPU_CHECKS, RESTS_ON
from diadbench.methods.authoring.checks import ROUNDING as ROUNDING
from diadbench.methods.authoring.checks import SAME as SAME
from diadbench.methods.authoring.new_method import check_gpu
from diadbench.methods.base import Method, no_progress

#: Maximum number of characters of an author's error that are printed.
_LONGEST = 200
_LITE0: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "weights": "package"}
#: Options that make the project's own methods small enough for the suite.
SMALL_OPTIONS: dict[str, dict[str, Any]] = {
    "global-knn": {**_LITE0, "level": 3},
    "patchcore": {**_LITE0, "embedding": "concat", "ratio": 0.1},
    "padim": {**_LITE0, "layers": ["blocks.1", "blocks.2"], "n_features": 20},
    "uniad": {
        **_LITE0,
        "layers": [1, 2, 3],
        "neighbor_size": 3,
        "hidden": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "feedforward": 32,
        "steps": 6,
    },
    "draem": {"width": 4, "segmentation_width": 4, "steps": 5, "batch_size": 4},
    "diad": {
        "size": "tiny",
        "weights": "random",
        "autoencoder_steps": 2,
        "autoencoder_batch_size": 4,
        "autoencoder_accumulate": 1,
        "train_steps": 3,
        "batch_size": 2,
        "accumulate": 1,
        "steps": 2,
        "scale_latents": True,
        "backbone": "tf_efficientnet_lite0",
        "backbone_weights": "package",
    },
}


#: Results of a check, see :class:`Outcome`.
Status = Literal["passed", "failed", "skipped", "open"]


@dataclass(frozen=True)
class Outcome:
    """Result of one check.

    Attributes:
        name: What was checked.
        status: ``passed``, ``failed``, ``skipped`` if a requirement of the method is missing, or ``open`` if an earlier
            failure prevents the check, so that one fault fails only once.
        text: Why it failed or was skipped.
        seconds: Wall time.
    """

    name: str
    status: Status
    text: str = ""
    seconds: float = 0.0


def check_method(
    cls: type[Method],
    options: dict[str, Any] | None = None,
    *,
    size: int = 64,
    images: int = 8,
    device: str = "cpu",
    progress: Callable[[int, int, str], None] = no_progress,
) -> Iterator[Outcome]:
    """Yield the outcome of every check.

    Args:
        cls: The method.
        options: Its options; choose small ones.
        size: Side of the square images in pixels.
        images: Training images a class.
        device: ``cpu``, or ``cuda``, which adds the checks for a GPU, with full float32 products.
        progress: Called as ``progress(done, total, what)`` for each check, and with the method's own progress reports.

    Raises:
        Skip: There is no such device.
        UserError: The method's answers were made elsewhere.
    """
    if getattr(getattr(cls, "info", None), "by_sample", False):
        raise UserError(f"{cls.info.name}: its answers were made elsewhere; there is no model to check")
    if device.startswith("cuda"):
        check_gpu(device)
    bench = Bench(cls, dict(options or {}), size, images, torch.device(device), progress)
    with full_float32() if bench.device.type == "cuda" else nullcontext():  # to be compared with the CPU
        yield from _outcomes(bench)


def _outcomes(bench: Bench) -> Iterator[Outcome]:
    failed: list[str] = []
    checks = CHECKS if bench.device.type == "cpu" else {**CHECKS, **GPU_CHECKS}
    for place, (name, check) in enumerate(checks.items()):
        began = time.monotonic()
        bench.tell(place, len(checks), name)
        told_by = next((other for other in RESTS_ON.get(name, ()) if other in failed), "")
        if told_by:
            failed.append(name)
            yield Outcome(name, "open", f"rests on {told_by!r}, which failed")
            continue
        status, text = _outcome(partial(check, bench))
        if status != "passed":
            failed.append(name)
        yield Outcome(name, status, text, time.monotonic() - began)
        if status != "passed" and name in ("interface", "fits many classes"):
            return  # Nothing else can be checked.


def assert_conforms(cls: type[Method], options: dict[str, Any] | None = None, **settings: Any) -> None:
    """Run all checks, for pytest. Raises AssertionError with all failures, or Skip if a requirement is missing."""
    outcomes = list(check_method(cls, options, **settings))
    failures = [f"{outcome.name}: {outcome.text}" for outcome in outcomes if outcome.status == "failed"]
    assert not failures, "\n".join(failures)
    skipped = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if skipped:
        raise Skip(skipped[0].text)


def _outcome(check: Callable[[], None]) -> tuple[Status, str]:
    try:
        check()
    except CheckFailed as failure:
        return "failed", str(failure)
    except Skip as skip:
        return "skipped", str(skip)
    except ModuleNotFoundError as error:
        return "skipped", f"the package {error.name} is not installed; pip install it to check this method"
    except UserError as error:
        return "failed", f"it refuses its own options: {error}"
    except (Exception, SystemExit) as error:  # An author's code may raise anything; the place of the error helps.
        said = one_line(str(error))
        shown = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
        return "failed", f"{type(error).__name__}: {shown} ({_place(error)})"
    return "passed", ""


def _place(error: BaseException) -> str:
    """Return the innermost line of the traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
