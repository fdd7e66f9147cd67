"""Learning rate over the steps of a run."""

import math


def learning_rate(step: int, total: int, peak: float, warmup: int, final: float = 0.0) -> float:
    """Linear warm-up over `warmup` steps, then a cosine from `peak` to `final` at step `total` (GroupViT's shape)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return final + (peak - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2
