"""What changes over the steps of a run: the stage of its curriculum, the learning rate."""

import math


def learning_rate(step: int, total: int, peak: float, warmup: int, final: float = 0.0, cooldown: float = 1.0) -> float:
    """Linear warm-up, `peak`, then a cosine to `final` over the last `cooldown` share of the steps.

    With `cooldown=1` it is GroupViT's cosine after warm-up; with less, a run can be prolonged before it cools down.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    start = max(warmup, (1 - cooldown) * total)
    done = min(1.0, max(0.0, (step - start) / max(1, total - start)))
    return final + (peak - final) * (1 + math.cos(math.pi * done)) / 2


def stage_at(stages: list[dict], step: int) -> dict:
    """The stage that a step belongs to; each lasts its "steps". After the end, the last."""
    for stage in stages:
        if step < stage["steps"]:
            return stage
        step -= stage["steps"]
    return stages[-1]


def place_in_stage(stages: list[dict], step: int) -> tuple[int, int]:
    """How many steps of its stage come before a step, and how many the stage has."""
    for stage in stages:
        if step < stage["steps"]:
            return step, stage["steps"]
        step -= stage["steps"]
    return stages[-1]["steps"] - 1, stages[-1]["steps"]
