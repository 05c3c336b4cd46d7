"""Compare faster ways of inference of a trained DiAD by their effect on its maps."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from diadbench.benchmark.cells.scoring.in_turn import Turn, score_in_turn
from diadbench.benchmark.metrics import get_protocol
from diadbench.benchmark.steps.diad_steps import Made, Steps
from diadbench.common.files import write_with

if TYPE_CHECKING:
    from diadbench.methods.base import Method

#: The plain way of inference, with which the others are compared.
PLAIN: dict[str, Any] = {"channels_last": False, "inference_precision": "float32", "compile": False}
WAYS: dict[str, dict[str, Any]] = {
    "plain float32": {},
    "channels-last": {"channels_last": True},
    "bfloat16": {"inference_precision": "bfloat16"},
    "torch.compile": {"compile": True},
}


def compare_inference(
    steps: Steps, dataset: str, root: str | None, checkpoint: str | None, batch_size: int, *, compiled: bool
) -> Made:
    """Predict the test images in each way, batch by batch in turn, and write the table ``OUT/compare.csv``.

    ``seconds_an_image`` are CPU seconds on a CPU, wall seconds on a GPU; see
    :func:`~diadbench.benchmark.cells.scoring.in_turn.score_in_turn`.
    """
    source = steps.source(checkpoint)
    data, train, test = steps.data(dataset, root)
    run = steps.run(train.class_names)
    given = steps.options
    ways: dict[str, Method] = {}
    for name, changes in WAYS.items():
        if "compile" not in changes or compiled:
            steps.options = {**given, **PLAIN, **changes}
            ways[name] = steps.trained(source, train, run)
    steps.options = given
    maps: dict[str, list[Tensor]] = {name: [] for name in ways}
    turns = score_in_turn(
        ways,
        data,
        test,
        get_protocol("exact"),
        steps.out / "spill",
        device=steps.device,
        batch_size=batch_size,
        watch=lambda name, found: maps[name].append(found),
    )
    shutil.rmtree(steps.out / "spill", ignore_errors=True)
    plain = torch.cat(maps[next(iter(ways))])
    table = pd.DataFrame([_row(name, torch.cat(maps[name]), plain, turn) for name, turn in turns.items()])
    write_with(steps.out / "compare.csv", lambda path: table.to_csv(path, index=False))
    return Made("results", steps.out / "compare.csv", list(dict.fromkeys(run.notes)), table)


def _row(name: str, maps: Tensor, plain: Tensor, turn: Turn) -> dict[str, Any]:
    off = (maps - plain).abs() / plain.abs().max()
    mean = turn.evaluation.mean().set_index("metric")["value"]
    aurocs = {key: float(mean[key]) for key in ("i_auroc", "p_auroc") if key in mean}
    differences = {"largest": float(off.max()), "mean": float(off.mean())}
    return {"way": name, **differences, **aurocs, "seconds_an_image": turn.seconds}
