"""What an encoder trained on ImageNet's labels calls a region, as further captions: tags.

An encoder with a past brings its own classifier. Each region's features go through it, and where it is sure, the
region's embedding has to find the names of its classes among all names, and the wider names ("dog" of 118 breeds) among
all wider names: words that no caption holds get a place in pictures. No masks and no labels of the training photographs
are read; a card has to say that the classes are ImageNet's.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sseg.errors import SSegError
from train.data.held_out import held_words, without
from train.data.kinds import load_kinds
from train.encoder_start import tensors_of
from train.recipe import Pretrain

SURE = 0.25  # probability of its best class from which a region counts
NAMED = 0.5  # probability of all classes with a wider name from which a region counts for those
REGIONS = 4  # of each picture, drawn anew in each step
DISTRACTORS = 250  # classes that compete, beside those that were found


class Tagger(nn.Module):
    """The classifier of a timm EfficientNet on the features of regions, and the names of its classes."""

    def __init__(self, name: str, start: str, held: set[str]):
        """`name`, `start`: of the encoder, see `train.encoder_start`; `held`: words that names go without."""
        super().__init__()
        import timm
        from timm.data import ImageNetInfo

        network = timm.create_model(name, pretrained=False).eval()
        network.load_state_dict(tensors_of(start, name))
        self.head = nn.Sequential(network.conv_head, network.bn2, nn.Flatten(1), network.classifier)
        self.width = network.conv_head.in_channels
        self.requires_grad_(False)
        info, kinds = ImageNetInfo(), load_kinds()
        described = [info.index_to_description(i).lower().split(",") for i in range(network.num_classes)]
        self.names = [[rest for text in texts if (rest := without(text.strip(), held))] for texts in described]
        self.wider = [name for name in kinds.classes if without(name, held)]
        table = torch.zeros(network.num_classes, len(self.wider))
        for column, name in enumerate(self.wider):
            table[kinds.classes[name], column] = 1
        self.register_buffer("table", table)  # (1000, W)

    def train(self, mode: bool = True):
        """Always as in use: its norms are fixed."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """Mask features (M, D), the encoder's last map at their end -> probabilities (M, 1000)."""
        return self.head(features[:, -self.width :, None, None]).softmax(1)


def draw_names(tagger: Tagger, found: Tensor, seed: int) -> tuple[Tensor, list[str]]:
    """Classes that compete (those `found` (M,), and `DISTRACTORS` more), ascending, and a name of each."""
    rng = random.Random(f"{seed}/tags")
    named = [i for i, names in enumerate(tagger.names) if names]
    chosen = sorted({*rng.sample(named, min(DISTRACTORS, len(named))), *found.tolist()} & set(named))
    return torch.tensor(chosen), [rng.choice(tagger.names[i]) for i in chosen]


def tag_loss(regions: Tensor, probabilities: Tensor, names: Tensor, classes: Tensor, wider: Tensor, table: Tensor,
             scale: Tensor, weight: float = 0.5) -> Tensor:  # fmt: skip
    """Cross-entropy of a classifier's answer and a softmax over names of classes, for each region that it is sure of.

    Args:
        regions: (M, E) of unit length; probabilities: (M, C) of the classifier.
        names: (P, E) a name of each of `classes` (P,); wider: (W, E) the wider names; all of unit length.
        table: (C, W) of 0 and 1: which classes a wider name covers.
        scale: one over the temperature; weight: of the wider names.
    Returns:
        a scalar, zero where the classifier is sure of no region.
    """
    sure, competing = probabilities.amax(1) > SURE, probabilities[:, classes]  # (M,), (M, P)
    shares = F.normalize(competing, p=1, dim=1)
    named = competing.amax(1) > SURE  # else its class has no name: all of them are held out
    loss = _cross_entropy(shares[named], regions[named] @ names.T * scale)
    covered = probabilities @ table  # (M, W)
    widely = sure & (covered.sum(1) > NAMED)
    shares = F.normalize(covered, p=1, dim=1)
    return loss + weight * _cross_entropy(shares[widely], regions[widely] @ wider.T * scale)


def _cross_entropy(shares: Tensor, logits: Tensor) -> Tensor:
    return -(shares * logits.log_softmax(1)).sum() / max(1, len(shares))


def tagger_of(model, recipe: Pretrain) -> Tagger:
    """The classifier of a run's own encoder; SSegError where masks are not read from the map that it reads."""
    if recipe.encoder is None:
        raise SSegError("Tags are what an encoder with a past says: set loss.tags to 0, or give encoder.start.")
    name = recipe.model["backbone"]["backbone"]
    tagger = Tagger(name, recipe.encoder.start, held_words(recipe.data)).to(model.device)
    if model.config.mask_feature != "encoder" or model.encoder.channels[-1] != tagger.width:
        raise SSegError(
            f"The classifier of {name} has to read its last map: for tags set mask_feature to encoder, "
            "and end out_indices with that map."
        )
    return tagger
