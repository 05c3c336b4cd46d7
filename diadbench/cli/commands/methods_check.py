"""``diadbench methods check``."""

from __future__ import annotations

from typing import Any


def check(
    method: str,
    *,
    options: list[str] = [],  # noqa: B006 - a parser's default
    size: int = 64,
    device: str = "cpu",
) -> int:
    """Check that a method keeps to the contract, on a few small images.

    A method that is trained is trained for a few steps only, unless its options say for how many. One fault is one
    failure: what rests on it stays open. Exit code 0: it keeps to the contract; 1: it doesn't; 2: no such method or
    option; 3: something that it needs is not installed.

    Args:
        method: FILE.py:CLASS, a registered name, a preset, or anomalib:MODEL.
        options: Options of the method as NAME=VALUE; the project's own methods have small ones by default.
        size: Side of the images in pixels.
        device: cpu, or cuda: where its results lie, that it takes images of the CPU, the CPU's figures (with TF32
            off), the same bits twice.

    Example::

        diadbench methods check my_method.py:MyMethod
        diadbench methods check patchcore --options backbone=tf_efficientnet_lite0 weights=package ratio=0.1
    """
    print(f"checking  {method}: importing it", flush=True)  # what follows imports torch, which takes seconds
    from diadbench.cli.terminal_bar import terminal_bar
    from diadbench.common.errors import Skip
    from diadbench.methods.authoring.conformance import check_method
    from diadbench.methods.base import no_progress

    try:
        cls, chosen = _chosen(method, options, device)
    except Skip as missing:
        print(f"skipped   {missing}")
        return 3
    found = set()
    with terminal_bar(False, what="checking") as bar:
        for one in check_method(cls, chosen, size=size, device=device, progress=bar or no_progress):
            found.add(one.status)
            print(f"{one.status:<10}{one.name} ({one.seconds:.1f} s){one.text and f': {one.text}'}", flush=True)
    return 1 if "failed" in found else 3 if "skipped" in found else 0


def _chosen(method: str, words: list[str], device: str) -> tuple[Any, dict[str, Any]]:
    """Return a method's class and the options to check it with, and say which are not its own defaults."""
    from diadbench.benchmark.planning.grid import method_presets
    from diadbench.common.values.arguments import given_arguments
    from diadbench.common.values.yaml_values import load_pairs
    from diadbench.methods.authoring.conformance import SMALL_OPTIONS
    from diadbench.methods.authoring.new_method import method_to_check, short_budget

    preset: dict[str, Any] = method_presets().get(method, {})
    cls = method_to_check(preset.get("method", method), device)
    own = preset.get("options") or {}
    given = given_arguments(cls, load_pairs(words, "option", "levels=[2,3]"), f"method {method!r}")
    small = SMALL_OPTIONS.get(method, {}) if not given else {}
    short = short_budget(cls, {**small, **given})
    told = {**small, **short}
    if told:
        print(f"options   {', '.join(f'{name}={value}' for name, value in told.items())}", flush=True)
    return cls, {**own, **small, **short, **given}
