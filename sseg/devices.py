"""Where networks run."""

import torch

from sseg.errors import SSegError, shown


def pick(name="auto") -> torch.device:
    """The torch device of that name; "auto" is cuda, else mps, else cpu. SSegError if it cannot be used here."""
    if not isinstance(name, (str, torch.device)):
        raise SSegError(f'A device is "auto", "cpu" or "cuda", not {type(name).__name__}.')
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except Exception as error:
        name = shown(name, 40)
        raise SSegError(f'The device "{name}" cannot be used here: choose "auto", "cpu" or "cuda".') from error
