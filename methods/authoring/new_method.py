"""What ``diadbench methods new`` and ``check`` do."""

from __future__ import annotations

import re
from pathlib import Path

from diadbench.common.arguments import given_arguments
from diadbench.common.errors import Skip, UserError
from diadbench.common.files import write_text
from diadbench.common.yaml_values import load_pairs


def write_template(name: str, directory: Path | str = ".") -> tuple[Path, str]:
    """Write the template of a method called ``name``. Returns the file and the class's name. Raises UserError."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    if not words or not words[0][0].isalpha() or re.search(r"[^\w\- ]", name):
        raise UserError(f"method name {name!r}: expected letters, digits, - and _, such as my-method")
    cls = "".join(word[0].upper() + word[1:] for word in words)
    snake = "_".join(words).lower()
    path = Path(directory) / f"{snake}.py"
    if path.exists():
        raise UserError(f"{path}: exists already; choose another name or directory")
    text = Path(__file__).with_name("template.py").read_text(encoding="utf-8")
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


def run_checks(method: str, words: list[str], size: int) -> int:
    """Run the conformance suite on ``method`` and print each outcome. Returns the exit code."""
    from diadbench.methods.authoring.conformance import SMALL_OPTIONS, check_method
    from diadbench.methods.registry import get_class

    try:
        cls = get_class(method)
    except UserError as error:
        missing = _missing_package(error)
        if not missing and not isinstance(error, Skip):
            raise
        print(f"skipped   {f'the package {missing} is not installed' if missing else error}")
        return 3
    given = given_arguments(cls, load_pairs(words, "option", "levels=[2,3]"), f"method {method!r}")
    options = given if words else dict(SMALL_OPTIONS.get(method, {}))
    if not words and options:
        print(f"options   {', '.join(f'{name}={value}' for name, value in options.items())}")
    found = []
    for outcome in check_method(cls, options, size=size):
        found.append(outcome.status)
        reason = f": {outcome.text}" if outcome.text else ""
        print(f"{outcome.status:<10}{outcome.name} ({outcome.seconds:.1f} s){reason}", flush=True)
    if "failed" in found:
        return 1
    return 3 if "skipped" in found else 0


def _missing_package(error: BaseException) -> str:
    """Name of the package whose absence led to ``error``, or an empty text."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ModuleNotFoundError) and seen.name and not seen.name.startswith("diadbench"):
            return seen.name
        seen = seen.__cause__
    return ""
