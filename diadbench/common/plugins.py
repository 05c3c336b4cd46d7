"""Find a class by a registered name, by ``path/to/file.py:Class``, by ``module:Class`` or by an entry point.

Registries are tables of import strings. Nothing is imported before it is needed, so a missing optional package only
affects its own entry, and listing names is fast.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from diadbench.common.errors import UserError, raised, told_of_missing_package, unknown_name
from diadbench.common.processes.apart import Apart, same_random_numbers

_PREFIX = "diadbench_user_"
#: What the modules of users set for the whole process, by the module's name.
_APART: dict[str, Apart] = {}


class _UserFiles(importlib.abc.MetaPathFinder):
    """Find a user's file by its module's name in child processes, where unpickling imports it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if not fullname.startswith(_PREFIX):
            return None
        place = os.environ.get(f"{_PREFIX}{fullname.rpartition('_')[2]}".upper())
        if not place:
            return None
        _let_import_siblings(Path(place))
        return importlib.util.spec_from_file_location(fullname, place)


sys.meta_path.append(_UserFiles())


def entry_points(group: str) -> dict[str, str]:
    """Return ``{name: "module:Class"}`` of the entry points of installed packages in ``group``."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=group)}


def load_class(kind: str, name: str, table: Mapping[str, str], group: str) -> type[Any]:
    """Return the class of a name.

    Args:
        kind: ``"dataset"`` or ``"method"``; used in error texts.
        name: A key of ``table``, an entry point of ``group``, or ``file.py:Class`` / ``module:Class``.
        table: The registry, ``{name: "module:Class"}``.
        group: Entry point group.

    Raises:
        UserError: No such name, file or class, or the file can't be imported.
    """
    target = target_of(name, table, group)
    if not target:
        raise unknown_name(kind, name, [*table, *entry_points(group)])
    return _import(kind, target, name)


def _import(kind: str, target: str, name: str) -> type[Any]:
    place, _, attribute = target.rpartition(":")
    module = _import_file(kind, Path(place)) if place.endswith(".py") else _import_module(kind, place, name)
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise unknown_name(f"class in {place}", attribute, classes)
    return found


def _let_import_siblings(path: Path) -> None:
    """Let a user's file import neighbouring modules, searched last so that they don't shadow installed packages."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


def forget(files: Iterable[Path]) -> None:
    """Remove the modules of these files, so that the next import reads them again."""
    named = {str(path) for path in files}
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) in named:
            del sys.modules[name]
    importlib.invalidate_caches()


def target_of(name: str, table: Mapping[str, str], group: str) -> str:
    """Return ``module:Class`` or ``file.py:Class`` for a name; ``""`` for an unknown name."""
    if name in table:
        return table[name]
    if ".py:" in name or (name.count(":") == 1 and "/" not in name):
        return name
    return entry_points(group).get(name, "")


def apart_of(cls: type) -> Apart:
    """Return the settings of the process that belong to the module of a class, see :class:`Apart`."""
    return _APART.setdefault(cls.__module__, Apart())


@contextlib.contextmanager
def _importing(name: str) -> Iterator[None]:
    """Import a user's module without an effect on the process; what it prints isn't mixed with a command's output."""
    with same_random_numbers(), _APART.setdefault(name, Apart()), contextlib.redirect_stdout(sys.stderr):
        yield


def _import_module(kind: str, module: str, name: str) -> ModuleType:
    try:
        with contextlib.nullcontext() if module.split(".")[0] == "diadbench" else _importing(module):
            return importlib.import_module(module)
    except ImportError as error:
        if told := told_of_missing_package(error):
            raise UserError(told) from error
        raise UserError(f"{kind} {name!r}: {module} can't be imported ({error}); install what it needs") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{kind} {name!r}: {module} can't be imported: {_import_error(error)}") from error


def _import_file(kind: str, path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{kind} file {path}: not found; give file.py:ClassName")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"{_PREFIX}{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    os.environ[f"{_PREFIX}{digest}".upper()] = str(path)
    _let_import_siblings(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look up their module.
    try:
        with _importing(name):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UserError(f"{kind} file {path}: {_import_error(error)}") from error
    return module


def _import_error(error: BaseException) -> str:
    """Return why a user's file can't be imported, with what to do where that is clear."""
    said = raised(error)
    if isinstance(error, SystemExit):
        return f'its import ends the process ({said}); put what it does as a script under `if __name__ == "__main__":`'
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        return f"{said}; import a file beside it by its name alone: `from name import ...`"
    return said
