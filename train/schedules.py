"""What changes over the steps of a run: the stage of its curriculum, the learning rate."""

import math

from sseg.errors import SSegError


def learning_rate(step: int, total: int, peak: float, warmup: int, final: float = 0.0, cooldown: float = 1.0) -> float:
    """Linear warm-up, `peak`, then a cosine to `final` over the last `cooldown` share of the steps.

    With `cooldown=1` it is GroupViT's cosine after warm-up; with less, a run can be prolonged before it cools down.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    start = max(warmup, (1 - cooldown) * total)
    done = min(1.0, max(0.0, (step - start) / max(1, total - start)))
    return final + (peak - final) * (1 + math.cos(math.pi * done)) / 2


def stage_at(stages: list, step: int):
    """The stage that a step belongs to; each lasts its `steps`. After the end, the last."""
    for stage in stages:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return stages[-1]


def place_in_stage(stages: list, step: int) -> tuple[int, int]:
    """How many steps of its stage come before a step, and how many the stage has."""
    for stage in stages:
        if step < stage.steps:
            return step, stage.steps
        step -= stage.steps
    return stages[-1].steps - 1, stages[-1].steps


def learns(stage) -> tuple[str, ...]:
    """What a stage of the curriculum learns: "shape" (masks), "meaning", or both."""
    return tuple(stage.learns or ("shape", "meaning"))


def check_batches(stages: list, processes: int, group: int = 1) -> None:
    """SSegError where a batch cannot be shared: by the processes, and in each of them into groups of `group`."""
    if not stages:
        raise SSegError("stages is empty: give at least one, with its steps and batch.")
    for number, stage in enumerate(stages):
        if stage.batch % (processes * group):
            groups = f" in groups of {group} (loss.group)" if group > 1 else ""
            raise SSegError(f"stages.{number}.batch {stage.batch} cannot be shared by {processes} process(es){groups}: "
                            f"make it a multiple of {processes * group}.")  # fmt: skip


def check_stages(stages: list, processes: int) -> None:
    """SSegError where stages learn shape after meaning alone, or part of the model in several processes."""
    shape = ["shape" in learns(stage) for stage in stages]
    if shape != sorted(shape, reverse=True):
        raise SSegError("Stages that learn shape come before those that learn meaning alone: change their order.")
    if processes > 1 and any(set(learns(stage)) != {"shape", "meaning"} for stage in stages):
        raise SSegError("Stages that learn shape or meaning alone run in one process: start without torchrun.")


def check(recipe, processes: int) -> None:
    """SSegError where parts of a recipe of pre-training contradict each other (`train.recipe.Pretrain`)."""
    stages, cell = recipe.stages, recipe.pseudo_masks.cell
    check_batches(stages, processes)
    parts = getattr(recipe.data, "parts", [recipe.data])
    needed = {"size": recipe.data.name != "maps", "difficulty": any(part.name == "stickers" for part in parts)}
    for number, stage in enumerate(stages):
        needed["k"] = "shape" in learns(stage)
        for key, wanted in needed.items():
            if wanted and getattr(stage, key) is None:
                raise SSegError(f"stages.{number}.{key} is missing: this kind of data needs it.")
    if recipe.loss.pooling == "feature_mean" and recipe.loss.queries == "matched":
        raise SSegError("The mean of features is over all queries; with queries: matched choose mean or softmax.")
    if cell % 4 or any((stage.size or cell) % cell for stage in stages):
        raise SSegError(f"pseudo_masks.cell {cell} must be a multiple of 4 that divides the stages' sizes.")
    if recipe.model.get("region_clusters") and any("shape" in learns(stage) for stage in stages):
        raise SSegError("Regions that are clusters have no shape to learn: set model.region_clusters to 0.")
    check_stages(stages, processes)
