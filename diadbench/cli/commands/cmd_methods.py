"""``diadbench methods``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diadbench.cli.commands.methods_check import check
from diadbench.cli.commands.methods_list import info, list_methods


def new(name: str, *, directory: str = ".", trained: bool = False) -> int:
    """Write a commented template of a method that runs as it is.

    Args:
        name: Name of the method, such as my-method; the file is my_method.py, the class MyMethod.
        directory: Where to write the file. An existing file is left alone.
        trained: A method that is trained by gradient: backbone, budget, loss.

    Example::

        diadbench methods new my-method
        diadbench methods new my-network --trained
        diadbench methods check my_method.py:MyMethod
        diadbench run demo --method my_method.py:MyMethod
    """
    from diadbench.methods.authoring.new_method import write_template

    path, cls = write_template(name, directory, trained=trained)
    print(f"{path}\ncheck it:  diadbench methods check {path}:{cls}")
    print(f"run it:    diadbench run demo --method {path}:{cls}")
    return 0


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
