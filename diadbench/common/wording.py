"""jsonargparse's errors about types in words for people."""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "collections.abc.Sequence": "a list",
    "dict": "keys and values",
}


def type_error(error: BaseException, names: Mapping[str, str] | None = None) -> str:
    """Return one line: which key, what was expected, what was found.

    Args:
        error: What jsonargparse raised. A text that isn't understood is passed on as it is.
        names: What to call keys (``{"engine": "--engine"}``); by default as jsonargparse does.
    """
    text = " ".join(str(error).replace("Parser key", "key").split())
    missing = re.match(r"Option '([^']+)' is required", text)
    if missing:
        return f"{(names or {}).get(missing[1], missing[1])} is required"
    text = re.sub(r"Expected a tuple with (\d+) elements\.", r"Expected a <class 'a list of \1'>.", text)
    head = re.match(r'key "([^"]+)": ', text)
    found = re.search(r"(?:Given value|Got value): (.*)$", text)
    expected = re.findall(r"Expected a (?:typing\.Literal\[([^\]]*)\]|<class '([^']*)'>)", text)
    if not (head and found and expected):
        return text
    words: list[str] = []
    for choices, name in expected:
        words += [choice.strip(" '\"") for choice in choices.split(",")] if choices else []
        words += [_WORDS.get(name, name)] if name and name != "NoneType" else []
    words = list(dict.fromkeys(words))
    if not words:
        return text
    known = ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1]
    return f"{(names or {}).get(head[1], head[1])}: expected {known}, found {found[1]!r}"
