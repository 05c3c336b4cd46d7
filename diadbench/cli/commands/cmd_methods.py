"""``diadbench methods``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def list_methods(*, anomalib: bool = False) -> int:
    """List the methods: the project's, plug-ins and, with --anomalib, all models of the installed anomalib.

    Args:
        anomalib: List the names anomalib:MODEL too.

    Example::

        diadbench methods list
        diadbench methods list --anomalib
    """
    from diadbench.methods.anomalib_models.names import model_names
    from diadbench.methods.catalog import CATALOG
    from diadbench.methods.registry import names

    print(f"{'name':<14}{'title':<12}{'venue':<12}needs")
    for name in names():
        info = CATALOG[name].info if name in CATALOG else None
        facts = (info.title, info.venue, ", ".join(info.needs) or "-") if info else ("(plug-in)", "", "")
        print(f"{name:<14}{facts[0]:<12}{facts[1]:<12}{facts[2]}")
    models = model_names()
    short = f"anomalib:MODEL for {len(models)} models of anomalib (--anomalib lists them); FILE.py:CLASS for yours"
    print("\n".join(f"anomalib:{model}" for model in models) if anomalib else short)
    return 0


def info(name: str) -> int:
    """Say what a method is: paper, needs, and its options with their defaults.

    Args:
        name: A registered name, anomalib:MODEL, or FILE.py:CLASS.

    Example::

        diadbench methods info patchcore
        diadbench methods info anomalib:Padim
    """
    import inspect

    from diadbench.methods.registry import get_class

    cls = get_class(name)
    facts = cls.info
    print(f"{facts.title} ({facts.name})\n{facts.summary}")
    if facts.paper:
        print(f"paper: {facts.paper}, {facts.venue}, cite {facts.cite}")
    print(f"needs: {', '.join(facts.needs) or 'nothing'}\n\n{inspect.getdoc(cls) or ''}\n\noptions:")
    for option in inspect.signature(cls).parameters.values():
        kind = option.annotation if isinstance(option.annotation, str) else inspect.formatannotation(option.annotation)
        print(f"  {option.name}: {kind} = {option.default!r}")
    return 0


def new(name: str, *, directory: str = ".") -> int:
    """Write a commented template of a method that runs as it is.

    Args:
        name: Name of the method, such as my-method; the file is my_method.py, the class MyMethod.
        directory: Where to write the file. An existing file is left alone.

    Example::

        diadbench methods new my-method
        diadbench methods check my_method.py:MyMethod
        diadbench run demo --method my_method.py:MyMethod
    """
    from diadbench.methods.authoring.new_method import write_template

    path, cls = write_template(name, directory)
    print(f"{path}\ncheck it:  diadbench methods check {path}:{cls}")
    print(f"run it:    diadbench run demo --method {path}:{cls}")
    return 0


def check(method: str, *, options: list[str] = [], size: int = 64, device: str = "cpu") -> int:  # noqa: B006
    """Check that a method keeps to the contract, on a few small images.

    Exit code 0: it does; 1: it doesn't; 2: no such method or option; 3: something that it needs is not installed.

    Args:
        method: FILE.py:CLASS, a registered name, or anomalib:MODEL.
        options: Options of the method as NAME=VALUE; the project's own methods have small ones by default.
        size: Side of the images in pixels.
        device: cpu, or cuda: results on the device, images of the CPU, the CPU's figures (no TF32), same bits twice.

    Example::

        diadbench methods check my_method.py:MyMethod
        diadbench methods check patchcore --options backbone=tf_efficientnet_lite0 weights=package ratio=0.1
    """
    from diadbench.common.errors import Skip
    from diadbench.common.values.arguments import given_arguments
    from diadbench.common.values.yaml_values import load_pairs
    from diadbench.methods.authoring.conformance import SMALL_OPTIONS, check_method
    from diadbench.methods.authoring.new_method import method_to_check

    try:
        cls = method_to_check(method, device)
    except Skip as missing:
        print(f"skipped   {missing}")
        return 3
    small = SMALL_OPTIONS.get(method, {}) if not options else {}
    if small:
        print(f"options   {', '.join(f'{name}={value}' for name, value in small.items())}")
    found = set()
    given = given_arguments(cls, load_pairs(options, "option", "levels=[2,3]"), f"method {method!r}")
    for one in check_method(cls, small or given, size=size, device=device):
        found.add(one.status)
        print(f"{one.status:<10}{one.name} ({one.seconds:.1f} s){one.text and f': {one.text}'}", flush=True)
    return 1 if "failed" in found else 3 if "skipped" in found else 0


def export(method: str, run: str, *, format: str = "diffusers", out: str | None = None, part: str | None = None) -> int:
    """Write a trained DiAD for use elsewhere.

    Args:
        method: Name of the method; DiAD is the one that other code can read.
        run: A run directory with one finished cell of the method, the directory of a cell, or of a model.
        format: diffusers (a folder), or official (one .ckpt or .safetensors for the authors' code).
        out: Folder or file to write; diad-diffusers or diad.ckpt here by default.
        part: Which model, where the cell has several: the class in one-per-class.

    Example::

        diadbench methods export diad runs/mine --format official
        diadbench methods export diad runs/demo/cells/toy/diad/multi-class/seed0 --out diad-toy
    """
    from pathlib import Path

    from diadbench.benchmark.reuse.export import export_model

    print(export_model(method, Path(run), format, None if out is None else Path(out), part))
    return 0


VERBS: dict[str, Callable[..., Any]] = {
    "list": list_methods,
    "info": info,
    "new": new,
    "check": check,
    "export": export,
}
