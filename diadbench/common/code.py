"""Digests of the meaning of Python files, and the user's own files behind a class.

Two files have the same meaning if their syntax trees are equal; comments, docstrings and formatting are ignored.
Nothing is imported or executed here, so a plan can be made without torch.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path

#: Key of the file of ``file.py:Class`` in :attr:`Code.files`, because the file's own name affects nothing.
MAIN = "file"
_OURS = "diadbench"


@dataclass
class Code:
    """The code behind a class.

    Attributes:
        files: The user's own files by the name under which they are imported; :data:`MAIN` for a file that was
            given by its path.
        installed: Top-level names of installed packages that these files import.
        ours: Modules of this project that these files import.
        unresolved: Imported names that can't be found without executing the files.
        distribution: ``"name 1.2"`` of the installed package that has the class, or ``""``.
    """

    files: dict[str, Path] = field(default_factory=dict)
    installed: set[str] = field(default_factory=set)
    ours: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)
    distribution: str = ""

    def digests(self) -> dict[str, str]:
        """Return ``{name: digest}`` of the files' meanings, and the distribution's name and version."""
        found = {name: meaning(path) for name, path in sorted(self.files.items())}
        return {**found, "distribution": self.distribution} if self.distribution else found


def meaning(path: Path) -> str:
    """Return the digest (16 hexadecimal digits) of the meaning of a Python file.

    For a file that can't be parsed or isn't Python source, its bytes are used. Docstrings count if the text
    mentions ``__doc__``.
    """
    content = path.read_bytes()
    tree = _parsed(content) if path.suffix == ".py" else None
    text = content if tree is None else _dump(tree, keep_strings=b"__doc__" in content).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def code_of_file(path: Path) -> Code:
    """Return the code behind a class in a file given by its path. The file needn't exist."""
    code = Code()
    if path.is_file():
        _Walk(code, beside=path.resolve().parent).follow(MAIN, path.resolve(), package="")
    return code


def code_of_module(module: str) -> Code:
    """Return the code behind a class in an importable module: the module and its imports.

    For an installed package, other packages are not followed; the result contains its name and version.
    """
    code = Code()
    top = module.partition(".")[0]
    code.distribution = _distribution(top) if _is_installed(_top_spec(top)) else ""
    walk = _Walk(code, top=top)
    if top == _OURS:  # A module of this project outside its catalogue: only this file, since the others have versions.
        for name, path in _chain(module, _top_spec(top)):
            if name == module:
                walk.follow(name, path, package=module.rpartition(".")[0])
        return code
    walk.visit(module)
    return code


class _Walk:
    """Follow imports from file to file, as long as they are the user's own.

    Args:
        code: The result, to which findings are added.
        top: Top-level name of an installed package that is also followed.
        beside: Folder of a file given by its path; modules in it can be imported.
    """

    def __init__(self, code: Code, *, top: str = "", beside: Path | None = None) -> None:
        self._code, self._top, self._beside = code, top, beside

    def visit(self, name: str) -> None:
        """Add a module, its parent packages and their imports."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "__future__":
            return
        if top == _OURS:
            self._code.ours.add(name)
            return
        spec = _top_spec(top)
        if _is_installed(spec) and top != self._top:
            self._code.installed.add(top)
            return
        chain = list(_chain(name, spec)) if spec is not None else list(_siblings(name, self._beside))
        if not chain:
            self._code.unresolved.add(name)
        for found, path in chain:
            is_package = path.name == "__init__.py"
            self.follow(found, path, package=found if is_package else found.rpartition(".")[0])

    def follow(self, name: str, path: Path, package: str) -> None:
        """Add a file under a name, and its imports."""
        if name in self._code.files or path in self._code.files.values():
            return
        self._code.files[name] = path
        tree = _parsed(path.read_bytes()) if path.suffix == ".py" else None
        found = dict.fromkeys(_imports(tree, package)) if tree is not None else {}
        for imported, needed in found:
            self.visit(imported)
            if not needed and (imported, True) not in found:  # `from package import name`: usually not a module
                self._code.unresolved.discard(imported)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Yield the full names of the modules that a tree imports, and whether each must be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            if module:
                yield module, True
                yield from ((f"{module}.{alias.name}", False) for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call):
            name = _import_call(node)
            if name:
                yield name, True


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".") if package else []
    base = parents[: max(len(parents) - node.level + 1, 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _import_call(node: ast.Call) -> str:
    """Return the name in ``importlib.import_module("name")`` or ``__import__("name")``, if it is a literal."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in ("import_module", "__import__") or not node.args:
        return ""
    first = node.args[0]
    plain = isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith(".")
    return str(first.value) if isinstance(first, ast.Constant) and plain else ""


# -- location of modules ----------------------------------------------------------------------------------------


def _top_spec(top: str) -> ModuleSpec | None:
    """Return the place that a top-level module would be imported from; ``sys.modules`` may have another one."""
    importlib.invalidate_caches()
    for finder in sys.meta_path:
        spec = finder.find_spec(top, None) if hasattr(finder, "find_spec") else None
        if spec is not None:
            return spec
    return None


def _chain(name: str, spec: ModuleSpec | None) -> Iterator[tuple[str, Path]]:
    """Yield a module's parent packages and the module as ``(name, file)``, from the spec of its top-level package."""
    if spec is None:
        return
    parts = name.split(".")
    if spec.origin and Path(spec.origin).is_file():
        yield parts[0], Path(spec.origin)
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    yield from _below(parts, folders)


def _below(parts: list[str], folders: list[Path]) -> Iterator[tuple[str, Path]]:
    for depth in range(1, len(parts)):
        found = next((file for folder in folders if (file := _in_folder(folder, parts[depth]))), None)
        if found is not None:
            yield ".".join(parts[: depth + 1]), found
        folders = [folder / parts[depth] for folder in folders]


def _siblings(name: str, folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Yield a module in a folder, with its parent packages."""
    parts = name.split(".")
    if folder is None:
        return
    found = _in_folder(folder, parts[0])
    if found is not None:
        yield parts[0], found
    yield from _below(parts, [folder / parts[0]])


def _in_folder(folder: Path, name: str) -> Path | None:
    compiled = (f"{name}{suffix}" for suffix in EXTENSION_SUFFIXES)
    for candidate in (folder / name / "__init__.py", folder / f"{name}.py", *(folder / file for file in compiled)):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _is_installed(spec: ModuleSpec | None) -> bool:
    """Whether a top-level module is installed (or built in), so that it isn't the user's."""
    if spec is None:
        return False
    places = [spec.origin] if spec.origin and spec.has_location else list(spec.submodule_search_locations or [])
    if not places:
        return True
    return any(Path(place).resolve().is_relative_to(root) for place in places for root in _installed_roots())


@cache
def _installed_roots() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    named = [paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()]
    return tuple({Path(place).resolve() for place in named})


def _distribution(top: str) -> str:
    names = importlib.metadata.packages_distributions().get(top, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


# -- meaning of a file --------------------------------------------------------------------------------------------


def _parsed(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError):
        return None


def _dump(node: object, *, keep_strings: bool) -> str:
    """Return a tree as text that is the same for all Python versions: no positions, no empty fields."""
    if isinstance(node, list):
        kept = node if keep_strings else [entry for entry in node if not _is_bare_string(entry)]
        return f"[{','.join(_dump(entry, keep_strings=keep_strings) for entry in kept)}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, ast.AST):
        fields = (
            (name, value)
            for name, value in ast.iter_fields(node)
            if value is not None and value != [] and name != "ctx"
        )
        inner = ",".join(f"{name}={_dump(value, keep_strings=keep_strings)}" for name, value in fields)
        return f"{type(node).__name__}({inner})"
    return repr(node)


def _is_bare_string(node: object) -> bool:
    """Whether a statement is only a string: a docstring, or a comment in that form."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
