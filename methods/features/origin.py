"""The origin of trained weights, which kept and exported models carry and runs that load them must state."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json

if TYPE_CHECKING:
    from diadbench.methods.base import RunContext

#: File with the origin of a kept model.
FILE = "run.json"


@dataclass(frozen=True)
class Origin:
    """How weights were trained.

    Attributes:
        version: Version of diadbench.
        method: Name of the method.
        dataset: Name of the training dataset.
        classes: Classes of the training images.
        image_size: ``(H, W)`` of the training images; ``()`` if unknown.
        seed: Seed of the training.
        decides: All that decides the result: the method's options (budget and backbone among them), fingerprint of the
            data, image size, resize filter.
        notes: Notes for every table with these weights.
        extras: Plain values of the training (losses, steps).
    """

    version: str = ""
    method: str = ""
    dataset: str = ""
    classes: tuple[str, ...] = ()
    image_size: tuple[int, ...] = ()
    seed: int | None = None
    decides: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extras: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the origin as JSON, to be stored in a file of weights."""
        return json.dumps(asdict(self), default=str, ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Origin:
        """Create an origin from the keys of :meth:`to_json`; keys of other versions are ignored."""
        known = {entry.name for entry in fields(cls)}
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**{key: value for key, value in plain.items() if key in known})

    @classmethod
    def from_json(cls, text: object) -> Origin | None:
        """Read the text of :meth:`to_json`; ``None`` if it is no origin."""
        try:
            values = json.loads(text) if isinstance(text, str) else None
        except ValueError:
            return None
        return cls.from_dict(values) if isinstance(values, dict) else None


def keep(directory: Path, origin: Origin) -> None:
    """Write the origin of the model in ``directory`` to a file beside it."""
    write_json(directory / FILE, {"notes": origin.notes, "extras": origin.extras, "origin": asdict(origin)})


def kept(directory: Path) -> Origin:
    """Return the origin of the model in ``directory``; unknown values are empty (models of older versions)."""
    said = read_json(directory / FILE)
    if not isinstance(said, dict):
        return Origin()
    own = said.get("origin")
    return Origin.from_dict({**(own if isinstance(own, dict) else {}), **_common(said)})


def _common(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"notes": said.get("notes", []), "extras": said.get("extras", {})}


def notes_of(origin: Origin | None, name: str, run: RunContext) -> list[str]:
    """Return the notes of a run that takes its weights from a file.

    Args:
        origin: Origin that the file states; ``None`` if it states none.
        name: Name of the file.
        run: The run.
    """
    if origin is None:
        return [f"weights from {name}: trained elsewhere, the file doesn't say how"]
    place = f" on {origin.dataset}" if origin.dataset else ""
    # results.csv joins a list of notes by "; "
    said = ", ".join(note.replace(";", ",") for note in origin.notes)
    notes = [f"weights from {name}: trained elsewhere{place}" + (f" (its notes: {said})" if said else "")]
    if origin.image_size and tuple(origin.image_size) != tuple(run.image_size):
        notes.append(f"weights trained at {_wide(origin.image_size)}, run at {_wide(run.image_size)}")
    strange = [name for name in run.class_names if name not in origin.classes] if origin.classes else []
    if strange:
        notes.append(f"weights trained without images of {len(strange)} of {len(run.class_names)} classes")
    return notes


def add(notes: list[str], more: list[str]) -> None:
    """Append those notes that are not there yet."""
    notes.extend(note for note in dict.fromkeys(more) if note not in notes)


def _wide(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"


def one_source(method: str, options: Mapping[str, Any], made: Callable[..., Any], *names: str) -> None:
    """Refuse options that name a source of weights which ``checkpoint`` brings: they would be ignored.

    Args:
        method: Name of the method.
        options: All its options.
        made: Its class, whose defaults stand for "not given"; so does ``random``, which presets of small sizes have.
        *names: The options that a checkpoint takes the place of.

    Raises:
        UserError: A checkpoint and one of the options are given.
    """
    if not options["checkpoint"]:
        return
    usual = inspect.signature(made).parameters
    for name in names:
        if options[name] not in (usual[name].default if name in usual else "", "random"):
            raise UserError(
                f"{method}: checkpoint={options['checkpoint']!r} brings these weights too, so {name}={options[name]!r} "
                f"would be ignored; leave one of them out"
            )
