"""The state of a run on disk: written whole or not at all, read back exactly."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sseg.errors import SSegError
from train.files import replacing

STATE = "state.safetensors"


def flatten(tree, prefix="") -> dict[str, torch.Tensor]:
    """Nested dicts of tensors and numbers -> one level, keys joined by '/', numbers as float64 tensors."""
    flat = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, name + "/")
        else:
            flat[name] = value if torch.is_tensor(value) else torch.tensor(value, dtype=torch.float64)
    return flat


def save_state(folder: Path, tree: dict) -> None:
    """Write the state of a run; a kill at any moment leaves the previous state or the new one."""
    flat = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in flatten(tree).items()}
    save_tensors(folder / STATE, flat)


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a .safetensors file whole or not at all; SSegError where it cannot be written."""
    with replacing(path) as part:
        save_file(tensors, part, {"format": "pt"})


def load_state(folder: Path) -> dict[str, torch.Tensor]:
    """The flat state written by `save_state`; SSegError where it is damaged."""
    try:
        return load_file(folder / STATE)
    except (SafetensorError, OSError) as error:
        raise SSegError(f"{folder / STATE} is damaged: start anew with another out=.") from error


def select(flat: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The entries below a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in flat.items() if name.startswith(prefix)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict:
    """The moments of each parameter by its number."""
    return {str(index): state for index, state in optimizer.state_dict()["state"].items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, torch.Tensor]) -> None:
    """Put the moments written from `optimizer_tensors` back."""
    state = {}
    for name, tensor in flat.items():
        index, field = name.split("/")
        state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
