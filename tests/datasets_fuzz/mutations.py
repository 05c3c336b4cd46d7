"""What happens to people's data: each mutation changes the files and, where the user means it so, the truth."""

from __future__ import annotations

from collections.abc import Callable

from drawing import Draw
from mutated_folders import junk, linked, nested, other_case, piped, renamed, second_mask, thumbnails, upper_suffix
from mutated_images import cut_off, deeper_bits, flipped_bytes, garbage, gone, other_pixels
from mutated_lists import list_copied, list_gone, other_text
from mutated_masks import mask_cut_off, mask_gone, one_mask_for_all, other_mask
from world import World

Mutation = Callable[[World, Draw], None]

MUTATIONS: dict[str, Mutation] = {
    one.__name__.lstrip("_"): one
    for one in (
        cut_off,
        garbage,
        flipped_bytes,
        gone,
        other_pixels,
        deeper_bits,
        mask_gone,
        mask_cut_off,
        other_mask,
        one_mask_for_all,
        junk,
        renamed,
        nested,
        second_mask,
        thumbnails,
        piped,
        other_case,
        linked,
        upper_suffix,
        other_text,
        list_gone,
        list_copied,
    )
}
#: Those that a set without such a thing can't have.
NEEDS_LIST = ("other_text", "list_gone", "list_copied")
NEEDS_MASK = ("mask_gone", "second_mask", "mask_cut_off", "other_mask", "one_mask_for_all")
