"""Where networks run, and on how many threads in a forked process."""

import os

import torch

from sseg.errors import SSegValueError, shown


def _alone() -> None:
    """The threads that a network runs on stay behind when a process forks; the child would wait for them for ever."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which knows no fork
    os.register_at_fork(after_in_child=_alone)


def pick(name="auto") -> torch.device:
    """The torch device of that name; "auto" is cuda, else mps, else cpu. SSegError if it cannot be used here."""
    if not isinstance(name, (str, torch.device)):
        raise SSegValueError(f'A device is "auto", "cpu" or "cuda", not {type(name).__name__}.')
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except Exception as error:
        name = shown(name, 40)
        raise SSegValueError(f'The device "{name}" cannot be used here: choose "auto", "cpu" or "cuda".') from error
