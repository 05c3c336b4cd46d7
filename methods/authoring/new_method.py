"""A new method's file from the template, and a method's class to be checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.common.errors import Skip, UserError
from diadbench.common.files import write_text
from diadbench.common.values.arguments import arguments_of

if TYPE_CHECKING:
    from diadbench.methods.base import Method


def write_template(name: str, directory: Path | str = ".", *, trained: bool = False) -> tuple[Path, str]:
    """Write the template of a method.

    Args:
        name: Name of the method, such as ``my-method``.
        directory: Where the file goes.
        trained: The template of a method that is trained by gradient.

    Returns:
        The file and the name of the class in it.

    Raises:
        UserError: The name is invalid, or the file exists.
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    if not words or not words[0][0].isalpha() or re.search(r"[^\w\- ]", name):
        raise UserError(f"method name {name!r}: expected letters, digits, - and _, such as my-method")
    cls = "".join(word[0].upper() + word[1:] for word in words)
    snake = "_".join(words).lower()
    path = Path(directory) / f"{snake}.py"
    if path.exists():
        raise UserError(f"{path}: exists already; choose another name or directory")
    source = "trained_template.py" if trained else "template.py"
    text = Path(__file__).with_name(source).read_text(encoding="utf-8")
    title = " ".join(words)
    for old, fresh in (
        ("MyMethod", cls),
        ("my_method", snake),
        ("my-method", "-".join(words).lower()),
        ("My method", title[0].upper() + title[1:]),
    ):
        text = text.replace(old, fresh)
    write_text(path, text)
    return path, cls


def method_to_check(name: str, device: str = "cpu") -> type[Method]:
    """Return the class of a method by its name, to be checked on a device.

    Raises:
        Skip: A package that it needs is not installed, or there is no GPU for ``cuda``.
        UserError: There is no such method.
    """
    from diadbench.methods.registry import get_class

    if device.startswith("cuda"):
        check_gpu(device)
    try:
        return get_class(name)
    except UserError as error:
        missing = _missing_package(error)
        if missing:
            raise Skip(f"the package {missing} is not installed") from error
        raise


#: Options for the length of a training, with values that test in seconds whether it runs.
SHORT_BUDGETS = {
    "steps": 6,
    "train_steps": 3,
    "max_steps": 6,
    "autoencoder_steps": 2,
    "epochs": 1,
    "max_epochs": 1,
}


def short_budget(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that make a method's training short; given options are kept."""
    known = arguments_of(cls).parameters
    return {
        name: short
        for name, short in SHORT_BUDGETS.items()
        if name in known and name not in given and _is_longer(known[name].default, short)
    }


def _is_longer(default: Any, short: int) -> bool:
    """Whether a budget exceeds a short one; ``None`` and negative numbers mean no limit."""
    return default is None or (isinstance(default, int) and (default > short or default < 0))


def check_gpu(device: str) -> None:
    """Raise Skip if torch finds no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise Skip(f"device {device!r} was asked for, but torch finds no GPU; use cpu")


def _missing_package(error: BaseException) -> str:
    """Return the name of the package whose absence caused ``error``, or an empty text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ModuleNotFoundError) and seen.name and not seen.name.startswith("diadbench"):
            return seen.name
        seen = seen.__cause__
    return ""
