"""Users' YAML: the core rules of YAML 1.2, and numbers that remember their spelling.

``on``, ``off``, ``yes``, ``no``, ``01`` and dates stay texts, and ``1e-4`` is a number. (PyYAML's rules are those of
YAML 1.1: ``on`` is true, ``01`` is 1 and ``1e-4`` is a text.) A number is an ``int`` or a ``float`` with an attribute
``text``. If a name is expected (a class called ``1e3``), the written text is used, as
:mod:`diadbench.common.values.typed` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from diadbench.common.errors import UserError

_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SAFE_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class SpelledInt(int):
    """A whole number with its written text; ``str()`` returns the text."""

    text: str

    def __new__(cls, value: int, text: str) -> SpelledInt:
        """Return ``value``, written as ``text``."""
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.text

    def __repr__(self) -> str:
        return self.text


class SpelledFloat(float):
    """A number with its written text; ``str()`` returns the text."""

    text: str

    def __new__(cls, value: float, text: str) -> SpelledFloat:
        """Return ``value``, written as ``text``."""
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        return float(self), self.text

    def __repr__(self) -> str:
        return self.text


class _Loader(_SAFE_LOADER):  # type: ignore[misc]
    """Loader of YAML 1.2's core schema. Merge keys (``<<``) of YAML 1.1 and ``20_000`` are supported as well."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - filled below by PyYAML's own method

    def get_single_node(self) -> Any:
        """Return the document's node. A key that stands twice is refused: the last entry would hide the others."""
        node = super().get_single_node()
        _refuse_twice(node)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping. Its keys are names, so ``null`` and ``true`` are texts there."""
        for key, _ in node.value:
            if key.tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"):
                key.tag = "tag:yaml.org,2002:str"
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def _refuse_twice(top: Any) -> None:
    """Refuse a mapping that has a key twice, before merge keys are laid under it. Raises yaml.YAMLError."""
    known, left = set(), [top]
    while left:
        node = left.pop()
        if id(node) in known or not isinstance(node, yaml.CollectionNode):
            continue
        known.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            left.extend(node.value)
            continue
        left.extend(value for _, value in node.value)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and not key.tag.endswith(":merge")]
        names = [key.value for key in keys]
        if len(set(names)) < len(names):
            key = next(key for place, key in enumerate(keys) if key.value in names[:place])
            mark = key.start_mark
            raise yaml.YAMLError(f"line {mark.line + 1}: the key {key.value!r} stands twice in one mapping")


def _whole_number(loader: Any, node: Any) -> SpelledInt:
    text: str = loader.construct_scalar(node)
    digits = text.replace("_", "")
    return SpelledInt(int(digits, 0), text)


def _number(loader: Any, node: Any) -> SpelledFloat:
    text: str = loader.construct_scalar(node)
    return SpelledFloat(float(re.sub(r"\.(?=[iInN])", "", text.replace("_", ""))), text)


_RULES = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}\.(?:{_DIGITS})?|{_DIGITS}(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)
_NUMBERS = [re.compile(rf"^(?:{rule})$") for kind, rule, _ in _RULES if kind in ("int", "float")]
for _kind, _rule, _first in _RULES:
    _starts = [*_first, ""] if _kind == "null" else list(_first)
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_rule})$"), _starts)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


class _Dumper(_SAFE_DUMPER):  # type: ignore[misc]
    """Dumper of text that :func:`load` and PyYAML's ``safe_load`` read as the same values."""


def _written_number(dumper: Any, value: SpelledInt | SpelledFloat) -> Any:
    # The tag of PyYAML's resolver for the text, so that the text is written unchanged, without quotes or a tag.
    return dumper.represent_scalar(dumper.resolve(yaml.ScalarNode, value.text, (True, False)), value.text)


def _written_text(dumper: Any, value: str) -> Any:
    number = any(rule.match(value) for rule in _NUMBERS)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if number else None)


for _class in {_Dumper, yaml.SafeDumper, _SAFE_DUMPER}:
    _class.add_representer(SpelledInt, _written_number)
    _class.add_representer(SpelledFloat, _written_number)
_Dumper.add_representer(str, _written_text)


def load(text: str) -> Any:
    """Read one YAML document.

    Returns:
        Plain values; whole numbers are :class:`SpelledInt`, other numbers :class:`SpelledFloat`.

    Raises:
        yaml.YAMLError: The text isn't YAML.
    """
    return yaml.load(text, Loader=_Loader)


def dump(value: Any) -> str:
    """Return plain values as YAML, with numbers in their original spelling; :func:`load` returns equal values."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def load_pairs(texts: Iterable[str], kind: str, example: str) -> dict[str, Any]:
    """Read words of a command line: ``["seeds=[0,1]", "image_size=128"]``.

    Args:
        texts: The words.
        kind: Kind of a word, for messages.
        example: A correct example, for messages.

    Raises:
        UserError: A word without a key or without ``=``, or with a value that isn't YAML.
    """
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UserError(f"{kind} {text!r}: expected key=value, for example {example}")
        try:
            found[key] = load(value)
        except yaml.YAMLError as error:
            raise UserError(f"{kind} {text!r}: the value is not YAML") from error
    return found
