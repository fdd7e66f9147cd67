"""Tensors of a file beside those that a model wants: names, shapes and types before anything is loaded, then values.

A file's header says all but the values, so a configuration that asks for a model of terabytes costs nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

GREATEST = 1e15  # of a weight: squares of it are still numbers in single precision
_TYPES = {"F16", "BF16", "F32", "F64"}  # of what is a float in the model


def check_header(path: Path, wanted: Mapping[str, Tensor], complain: Callable[[str], None]) -> None:
    """Call `complain` with the first thing amiss: a tensor missing, extra, of another shape, or of whole numbers where
    the model has real ones. `wanted` may lie on the meta device. Raises SafetensorError, OSError: a damaged file."""
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if missing := sorted(wanted.keys() - found.keys()):
            complain(f'tensor "{missing[0]}" is missing{_and_more(missing)}')
        if extra := sorted(found.keys() - wanted.keys()):
            complain(f'tensor "{extra[0]}" has no place in the model{_and_more(extra)}')
        for name in sorted(found):
            shape, expected = tuple(found[name].get_shape()), tuple(wanted[name].shape)
            if shape != expected:
                complain(f'tensor "{name}" has shape {shape} instead of {expected}')
            if wanted[name].is_floating_point() and found[name].get_dtype() not in _TYPES:
                complain(f'tensor "{name}" holds {found[name].get_dtype()} numbers instead of {wanted[name].dtype}')


def check_values(tensors: Mapping[str, Tensor], complain: Callable[[str], None]) -> None:
    """Call `complain` with the first tensor that nothing can be computed with."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (float(value) for value in torch.aminmax(tensor.float()))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            complain(f'tensor "{name}" holds values that are not finite')
        if max(-low, high) > GREATEST:
            complain(f'tensor "{name}" holds values over {GREATEST:g}')
        if name.endswith("running_var") and low < 0:
            complain(f'tensor "{name}" holds a negative variance')


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
