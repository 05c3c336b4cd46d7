"""Convert input of a user or a cell to checked numpy arrays, or report in one line what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diadbench.common.errors import UserError


def as_array(value: Any) -> NDArray[Any]:
    """Return a tensor (any device, also bfloat16), an array or a nested list as a numpy array; a view if possible."""
    if hasattr(value, "detach"):
        value = value.detach()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.cpu().numpy()
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def as_maps(value: Any) -> NDArray[Any]:
    """Return maps as ``(B,H,W)`` in their own dtype; ``(B,1,H,W)`` is squeezed.

    Raises:
        UserError: The shape differs, or values are not real numbers.
    """
    maps = as_array(value)
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3:
        raise UserError(f"anomaly maps: expected the shape (N, H, W), found {maps.shape}")
    if maps.dtype.kind not in "fiu" or maps.dtype.itemsize > 8:
        raise UserError(f"anomaly maps: expected float16, float32 or float64, found {maps.dtype}")
    return maps


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous float32 (from float32, float16, 8- or 16-bit integers) or float64. The order is preserved."""
    small = values.dtype.itemsize <= 2 or values.dtype == np.float32
    return np.ascontiguousarray(values, dtype=np.float32 if small else np.float64)


def as_masks(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return masks as ``bool (B,H,W)``.

    Raises:
        UserError: The shape is not that of the maps, or a value is neither 0 nor 1.
    """
    masks = as_array(value)
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.shape != shape:
        raise UserError(f"masks: expected the shape of the maps, {shape}, found {masks.shape}")
    return as_binary(masks, "masks", "binarise them first, for example `masks > 0`")


def as_binary(values: NDArray[Any], what: str, advice: str) -> NDArray[np.bool_]:
    """Return 0/1 values as bool; anything else is an error that says which value was found."""
    if values.dtype == bool:
        return values
    if values.dtype.kind not in "fiu":
        raise UserError(f"{what}: expected 0 and 1, found values of type {values.dtype}; {advice}")
    if values.dtype.itemsize == 1 and values.flags.c_contiguous and values.size and values.view(np.uint8).max() <= 1:
        return values.view(np.bool_)
    wrong = ~((values == 0) | (values == 1))
    if wrong.any():
        raise UserError(f"{what}: expected 0 and 1, found {values[wrong][0]}; {advice}")
    return values.astype(bool)


def as_column(value: Any, size: int, what: str) -> NDArray[Any]:
    """Return ``(size,)`` real numbers.

    Raises:
        UserError: Another length, or values that are no real numbers.
    """
    column = as_array(value)
    column = column.reshape(-1) if column.ndim == 2 and column.shape[1] == 1 else column
    if column.shape != (size,):
        raise UserError(f"{what}: expected {size} values, one for each image, found the shape {column.shape}")
    if column.dtype.kind not in "fiub":
        raise UserError(f"{what}: expected numbers, found {column.dtype}")
    return column
