"""Reader of all weights' files: safetensors, and files of ``torch.save``, old and new. Code in a file never runs.

A pickle can name any function of the machine and have it called. So pickles are read by an unpickler that knows a
short list of names, those that rebuild tensors. Every other class or function (numpy's scalars, EasyDict, Lightning's
callbacks and attribute dictionaries) is replaced by :class:`Inert`, which does nothing.
"""

from __future__ import annotations

import json
import pickle
import re
import tarfile
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from diadbench.common.errors import UserError
from diadbench.common.wording import some
from diadbench.methods.features.unwrapping import WRAPPERS as WRAPPERS
from diadbench.methods.features.unwrapping import State as State
from diadbench.methods.features.unwrapping import notes_on, rivals
from diadbench.methods.features.unwrapping import unwrapped as unwrapped
from diadbench.methods.features.unwrapping import without_wrapper as without_wrapper

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".tar")
#: Entry of an exported checkpoint beside ``state_dict``, for what other programs have no key for. A ``.safetensors``
#: has it in its metadata under this name, as JSON, and its tensors under names that begin with ``diadbench.``.
METADATA = "diadbench"
_SHARD = re.compile(r"(.*?)\d{4,6}-of-(\d{4,6})(\.\w+)")
#: Maximum number of characters of a reason.
_REASON = 120


def read_state(
    path: Path | str,
    *,
    what: str = "weights",
    wrappers: Iterable[str] = WRAPPERS,
    notes: list[str] | None = None,
) -> State:
    """Return the tensors of a file of weights by name. Arguments and errors are those of :func:`read_checkpoint`."""
    return read_checkpoint(path, what=what, wrappers=wrappers, notes=notes)[0]


def read_checkpoint(
    path: Path | str,
    *,
    what: str = "weights",
    wrappers: Iterable[str] = WRAPPERS,
    device: str = "cpu",
    notes: list[str] | None = None,
) -> tuple[State, dict[str, Any]]:
    """Read the tensors of a file of weights, and the metadata of an export of this project.

    The content decides how the file is read, not the suffix. Tensors keep their dtype (float16 and bfloat16 too).

    Args:
        path: A ``.safetensors``, or a file that ``torch.save`` wrote in any version of PyTorch.
        what: Purpose of the file, for error texts.
        wrappers: Entries that may hold the tensors; the first one in the file is used.
        device: Where the tensors are put.
        notes: Gets a line on entries that hold weights too and aren't read (averaged weights), and one on rounded ones.

    Returns:
        Tensors by name, without the prefix ``module.`` of data-parallel training; the metadata, empty where there is
        none.

    Raises:
        UserError: No such file, or it holds no tensors by name. The text says what the file is instead (a web page, a
            git-LFS pointer, a cut-off archive, ...) in one line of at most 300 characters besides the path.
    """
    path = Path(path).expanduser()
    if not path.is_file() or not has_weight_suffix(path):
        found = "a folder" if path.is_dir() else "another kind of file" if path.exists() else "nothing there"
        raise UserError(f"{what} {path}: expected a file ({', '.join(SUFFIXES)}); found {found}")
    content: dict[Any, Any] = {}
    for part in parts_of(path, what):
        content |= _content(part, what, device)
    metadata = content.pop(METADATA, {})
    state = unwrapped(content, wrappers)
    _refuse_nan(state, path, what)
    if notes is not None:
        notes += notes_on(path, content, state, wrappers)
    if not state:
        several = rivals(content, wrappers)
        found = f"only {_listed(content)}, which are no plain tensors" if content else "nothing"
        found = f"them in several entries, {_listed(several)}; save one of these alone" if several else found
        raise UserError(f"{what} {path}: expected tensors by name, found {found}")
    return state, metadata if isinstance(metadata, dict) else {}


def has_weight_suffix(path: Path) -> bool:
    """Whether a file may hold weights by its name: a known suffix in any case, or none, as in a hub's cache."""
    return path.suffix.lower() in ("", *SUFFIXES)


def parts_of(path: Path, what: str = "weights") -> list[Path]:
    """Return the files of sharded weights (``model-00001-of-00002.safetensors``), or the file itself.

    Raises:
        UserError: One of the files is missing.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return [path]
    before, count, after = shard[1], shard[2], shard[3]
    parts = [path.with_name(f"{before}{i:0{len(count)}}-of-{count}{after}") for i in range(1, int(count) + 1)]
    for part in parts:
        if not part.is_file():
            raise UserError(f"{what} {part}: the file is not there, one of {int(count)} that belong together")
    return parts


def read_tensors(path: Path, device: str = "cpu", *, what: str = "trained weights") -> State:
    """Read a file of weights unchanged: no entry is unwrapped or left out, and no prefix is dropped.

    Raises:
        UserError: As :func:`read_checkpoint`; or the file holds anything besides tensors.
    """
    if not path.is_file():
        raise UserError(f"{what} {path}: the file is not there; did training end?")
    content = _content(path, what, device)
    metadata = content.pop(METADATA, None)
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others or metadata:
        raise UserError(f"{what} {path}: expected tensors by name alone, found {_listed([*others, *(metadata or ())])}")
    state = {str(key): value for key, value in content.items()}
    _refuse_nan(state, path, what)
    return state


# -- the two formats ------------------------------------------------------------------------------------------------


class _NotWeights(Exception):
    """The file holds something else; the text says what."""


def _content(path: Path, what: str, device: str) -> dict[Any, Any]:
    try:
        return _tensors(path, device)
    except Exception as error:  # zip, header and pickle errors of several libraries
        raise UserError(f"{what} {path}: can't be read as tensors ({_reason(path, error)})") from error


def _refuse_nan(state: State, path: Path, what: str) -> None:
    """Refuse NaN among the tensors that are read, not beside them: a trainer's best score may well be NaN.

    Infinities are masks of some text encoders.
    """
    broken = [key for key, value in state.items() if value.is_floating_point() and bool(torch.isnan(value).any())]
    if broken:
        why = "a damaged file, or a training that diverged"
        told = some(broken, most=1)
        raise UserError(f"{what} {path}: {told} holds values that are no numbers (NaN): {why}")


def _tensors(path: Path, device: str) -> dict[Any, Any]:
    if _is_safetensors(path):  # Tested first, because the length at its beginning may look like anything.
        return _read_safetensors(path, device)
    if other := _something_else(path):
        raise _NotWeights(other)
    return _read_pickle(path, device)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins like a safetensors file: the header's length as eight bytes, then JSON."""
    with open(path, "rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path, device: str) -> dict[Any, Any]:
    with safe_open(path, "pt") as file:
        metadata = json.loads((file.metadata() or {}).get(METADATA, "{}"))
    tensors = load_file(path, device=device)
    own = {key: tensors.pop(key) for key in list(tensors) if key.startswith(f"{METADATA}.")}
    return {**tensors, METADATA: {**metadata, **{key.partition(".")[2]: value for key, value in own.items()}}}


def _read_pickle(path: Path, device: str) -> dict[Any, Any]:
    reader = types.SimpleNamespace(__name__="restricted", Unpickler=_Unpickler, load=_load)
    with warnings.catch_warnings(), open(path, "rb") as file:  # not by its path, because torch looks at the suffix
        warnings.simplefilter("ignore")  # torch warns that a pickle may run code, which this unpickler prevents.
        content = torch.load(file, map_location=device, pickle_module=reader, weights_only=False)
    if isinstance(content, Inert) and not content:
        raise _NotWeights(f"it is a whole object of the class {type(content).__name__}; save its state_dict() instead")
    if not isinstance(content, dict):
        raise _NotWeights(f"expected a dictionary of tensors, found a {type(content).__name__}")
    return dict(content)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


class Inert(dict[Any, Any]):
    """Placeholder for any class or function in a checkpoint other than its tensors. It only keeps items.

    It accepts everything that a pickle may do to the original object: call it, set its state, fill it as a
    dictionary, a list or a set, use it as a key.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Ignore the arguments of the pickle."""

    def __new__(cls, *arguments: Any, **options: Any) -> Inert:
        """Ignore the arguments of the pickle."""
        return super().__new__(cls)

    def __call__(self, *arguments: Any, **options: Any) -> Inert:
        """Return another placeholder, for objects that create objects."""
        return Inert()

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""

    def append(self, value: Any) -> None:
        """Ignore an item of a list."""

    def extend(self, values: Iterable[Any]) -> None:
        """Ignore the items of a list."""

    def add(self, value: Any) -> None:
        """Ignore an item of a set."""


class _Function:
    """A function that a pickle may call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


def _plain_tensor(function: Callable[..., Any], kind: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    """Rebuild a tensor from an object of a subclass of torch's tensors, without the subclass."""
    return function(*arguments)


#: Functions by which torch rebuilds tensors that can't be a network's weights as they are, and what those are.
_UNUSABLE = {
    "_rebuild_sparse_tensor": "sparse tensors",
    "_rebuild_nested_tensor": "nested tensors",
    "_rebuild_qtensor": "quantised tensors",
    "_rebuild_meta_tensor_no_storage": "tensors without values (on the device meta)",
    "UntypedStorage": "tensors of float8, or of integers without a sign",
}

#: All functions that a pickle may call; they create tensors and plain containers only.
_CALLABLE: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _Function(torch._utils._rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(torch._utils._rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): _Function(torch._utils._rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Function(lambda data, gradient, hooks, state: data),
    ("torch._tensor", "_rebuild_from_type_v2"): _Function(_plain_tensor),
    ("torch", "Size"): _Function(torch.Size),
    ("torch", "device"): _Function(torch.device),
    ("collections", "OrderedDict"): OrderedDict,
}


class _Unpickler(pickle.Unpickler):
    """Unpickler that maps names to ``_CALLABLE`` or replaces them by :class:`Inert`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object for a name, without importing it."""
        if module.startswith("torch.") and name in _UNUSABLE:
            raise _NotWeights(f"it holds {_UNUSABLE[name]}; save plain ones, of float32, float16 or bfloat16")
        known = _CALLABLE.get((module, name))
        return type(name, (Inert,), {"__module__": module}) if known is None else known


# -- identification of files without weights ------------------------------------------------------------------------

_POINTER = b"version https://git-lfs.github.com"


def _something_else(path: Path) -> str:
    """Return a description of a file that can't hold weights, by its first bytes; an empty text if it may hold some."""
    with open(path, "rb") as file:
        head = file.read(512)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "the file is empty"
    if start.startswith(_POINTER):
        return "it is a git-LFS pointer, not the weights; fetch them with `git lfs pull`"
    if start[:1] == b"<":
        return "it is a web page (HTML or XML), not the weights; download the file itself"
    if head.startswith(b"\x1f\x8b"):
        return "it is a gzip archive; unpack it first"
    if head[257:262] == b"ustar" and tarfile.is_tarfile(path):
        return "it is a tar archive of files; unpack it first"
    if start[:1] in (b"{", b"[") and not any(byte > 127 or byte == 0 for byte in head):
        return "it is JSON text, not the weights"
    if head.startswith(b"PK"):
        return _wrong_archive(path)
    if len(head) < 512 and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head):
        return f"it is text, {start[:40].decode(errors='replace')!r}, not the weights; download the file again"
    return ""


def _wrong_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return "the archive is damaged or cut off; download it again"
    if "constants.pkl" in names:
        return "it is a TorchScript program; save its state_dict() instead"
    return "" if "data.pkl" in names else "it is a zip archive of other files; unpack it first"


def _reason(path: Path, error: Exception) -> str:
    """Return a short reason why a file can't be read.

    PyTorch's own messages are not used, because they are long and advise to let the file run its code.
    """
    if isinstance(error, _NotWeights):
        return str(error)
    if isinstance(error, (pickle.UnpicklingError, EOFError, UnicodeDecodeError, KeyError)):
        if zipfile.is_zipfile(path):
            return "the archive is damaged; download it again"
        return "it is neither a safetensors file nor one that torch.save wrote, or it is cut off"
    text = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
    if "not fully covered" in text:  # of safetensors: the header names more bytes than the file has, or fewer
        return "the file is cut off or damaged; download it again"
    if "weights_only" in text or len(text) > _REASON:
        return f"the file is damaged: {type(error).__name__}"
    return text


def _listed(content: Iterable[Any]) -> str:
    return some((str(key)[:20] for key in content), most=4)
