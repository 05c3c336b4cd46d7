"""The backbone that a kept memory bank belongs to: written with the bank, compared when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diadbench.common.errors import UserError
from diadbench.common.files import read_json, write_json

if TYPE_CHECKING:
    from diadbench.methods.base import RunContext
    from diadbench.methods.features.backbones import Backbone

#: File beside a bank of features.
FILE = "backbone.json"


def keep_backbone(directory: Path, backbone: Backbone) -> None:
    """Write name, origin and digest of the backbone whose features are kept in ``directory``."""
    said = {"backbone": backbone.name, "weights": backbone.source, "digest": backbone.digest}
    write_json(directory / FILE, said)


def refuse_other_backbone(directory: Path, backbone: Backbone, run: RunContext) -> None:
    """Compare a backbone with the one whose features are kept in ``directory``.

    A bank of an earlier version doesn't state it; a note then says that nothing was compared.

    Raises:
        UserError: The network or its weights differ, so distances between their features are meaningless.
    """
    said = read_json(directory / FILE)
    if not isinstance(said, dict):
        run.notes.append("the kept features don't say whose backbone made them; its weights were not compared")
        return
    if said.get("digest") != backbone.digest:
        raise UserError(
            f"{directory}: its features are of {said.get('backbone')} with weights {str(said.get('digest'))[:12]} "
            f"({said.get('weights')}), found {backbone.name} with {backbone.digest[:12]} ({backbone.source}); give the "
            "same backbone and weights"
        )
