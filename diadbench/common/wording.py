"""Lists and numbers in messages: as long as one line bears, in the right number."""

from __future__ import annotations

from collections.abc import Iterable

#: Characters of a list in a message. With file, expectation and advice around it a message stays below 300.
ROOM = 120


def some(items: Iterable[object], *, sep: str = ", ", most: int = 12, room: int = ROOM) -> str:
    """Return items as one text that is cut with the number of those left out: ``a, b and 3 more``.

    Args:
        items: What is listed, in its order.
        sep: What stands between two items.
        most: The most items that are shown.
        room: Characters at most; the first item is shown whole however long it is.
    """
    texts = [str(item) for item in items]
    shown = texts[:1]
    for text in texts[1:most]:
        if len(sep.join([*shown, text])) > room:
            break
        shown.append(text)
    hidden = len(texts) - len(shown)
    return sep.join(shown) + (f"{sep.rstrip(', ')} and {hidden:,} more" if hidden else "")


def printable(text: str) -> str:
    """Return a text with control characters, and bytes of a file's name that are not UTF-8, as ``\\n`` or ``\\xd5``."""
    return "".join(map(_printable, text))


def _printable(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python holds such a byte
        return f"\\x{ord(letter) - 0xDC00:02x}"
    if letter < " " or "\x7f" <= letter <= "\x9f" or "\ud800" <= letter <= "\udfff":
        return repr(letter)[1:-1]
    return letter


def counted(count: int, one: str, more: str = "") -> str:
    """Return a number with its noun: ``1 mask``, ``3,200 masks``.

    Args:
        count: The number.
        one: The noun, or noun and verb, of one.
        more: That of any other number; by default with an ``s`` at its end.
    """
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"
