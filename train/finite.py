"""Numbers that are none: training stops at the first, before anything of it is saved."""

import torch
from torch import Tensor

from sseg.errors import SSegError


class NotFinite(SSegError):
    """What is not a finite number, by its name; `train.trainer` says in which step."""


def check_finite(named: dict[str, Tensor]) -> None:
    """Raises NotFinite: one of the scalars is infinite or not a number; the first of them is named."""
    fine = torch.stack([value.detach().float() for value in named.values()]).isfinite().tolist()
    for name, good in zip(named, fine, strict=True):
        if not good:
            raise NotFinite(name)
