"""Which predicted mask answers for which pseudo-mask: the cheapest one-to-one assignment (paper.md, section 4)."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from train.finite import NotFinite

NO_TARGET = -1


@torch.no_grad()
def match(cost: Tensor, valid: Tensor) -> Tensor:
    """Assign every valid target to one query, at the least total cost of each image.

    Args:
        cost: (D, B, N, K) cost of query n answering for target k, for each decoder layer.
        valid: (B, K) bool, False where a cluster is empty; at most N targets are valid.
    Returns:
        (D, B, K) int64: the query of each target, `NO_TARGET` for empty clusters. On the device of `cost`.

    Raises:
        NotFinite: a cost is infinite or not a number, since the masks are.

    One copy brings the costs of all layers and images to the host and one brings the answer back: no image waits for
    the device on its own.
    """
    host, keep = cost.float().cpu().numpy(), valid.cpu().numpy()
    if not np.isfinite(host).all():
        raise NotFinite("the matching cost of the masks")
    queries = np.full((*host.shape[:2], host.shape[3]), NO_TARGET, np.int64)
    for layer in range(host.shape[0]):
        for image in range(host.shape[1]):
            targets = np.flatnonzero(keep[image])
            rows, columns = linear_sum_assignment(host[layer, image][:, targets])
            queries[layer, image, targets[columns]] = rows
    return torch.from_numpy(queries).to(cost.device)
