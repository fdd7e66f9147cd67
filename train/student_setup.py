"""The student of self-training as a recipe wants it: the weights that it starts from, and its optimiser."""

import re

import torch
from safetensors.torch import load_file

from sseg import checkpoint
from sseg.errors import SSegError
from sseg.models.student import SelfTrainedModel
from sseg.paths import WEIGHTS
from train.recipe import SelfTrain
from train.recipe.self_training import StudentOptimizer

BLOCK = re.compile(r"backbone\.(?:blocks|encoder\.stages)\.(\d+)\.")  # of a ViT; of a ResNet


def start_from(model: SelfTrainedModel, recipe: SelfTrain) -> None:
    """Take the tensors that `init` names, for the backbone, or for all if a student teaches a second round.

    Raises:
        SSegError: the recipe's model has other sizes than they.
    """
    start, part = recipe.init, model.backbone
    if start == "features-mini":
        tensors = load_file(WEIGHTS / start / "model.safetensors")
    elif start == "teacher":
        folder = checkpoint.resolve(recipe.teacher)
        if checkpoint.kind_of(folder) == checkpoint.PLUS:
            part, tensors = model, checkpoint.load_model(folder, SelfTrainedModel).state_dict()
        else:
            tensors = checkpoint.load_model(folder).encoder.state_dict()
    else:
        import timm

        tensors = timm.create_model(start, pretrained=True, num_classes=0, dynamic_img_size=True).state_dict()
    try:
        part.load_state_dict(tensors)
    except RuntimeError:
        raise SSegError(f"The recipe's model does not fit init: {start}; take its sizes.") from None


def make_optimizer(model: SelfTrainedModel, recipe: StudentOptimizer) -> torch.optim.AdamW:
    """AdamW; block i of the backbone learns at layer_decay^(depth - i) of the rate (BEiT, MAE); no decay on vectors."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    blocks = {name: int(found[1]) for name in named if (found := BLOCK.match(name))}
    depth, groups = max(blocks.values(), default=-1) + 1, []
    for name, parameter in named.items():
        below = 0
        if name in blocks:
            below = depth - blocks[name]
        elif name.startswith("backbone."):
            below = depth + 1 if "norm" not in name.split(".")[1] else 0
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "weight_decay": decay, "share": recipe.layer_decay**below})
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
