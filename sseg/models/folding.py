"""Batch-norms of a finished encoder folded into the convolutions before them: the same answers in less time.

What a norm costs on a processor is reading and writing the map once more.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_norms(module: nn.Module) -> None:
    """Fold every frozen or finished batch-norm that follows a convolution in its parent's order, in place.

    Takes torch's and timm's batch-norms; timm's, which carry an activation, leave that behind. Only for use: what was
    folded cannot be trained as before, nor saved under its old names.
    """
    for parent in module.modules():
        children: list[tuple[str, Any]] = list(parent.named_children())
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and hasattr(norm, "running_var"):
                weight, bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                conv.weight, conv.bias = weight, bias
                setattr(parent, name, getattr(norm, "act", nn.Identity()))
