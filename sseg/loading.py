"""Weights by name -> what encodes pictures and answers questions."""

import torch

from sseg import checkpoint, devices
from sseg.folding import fold_norms
from sseg.segmenter import Segmenter
from sseg.self_trained import SelfTrainedModel, SelfTrainedSegmenter


def load(name=None, device="auto", combine: str | None = None, prompt: str | None = None):
    """Load weights: a `Segmenter`, or a `SelfTrainedSegmenter` where they are S-Seg+.

    Args:
        name: a bundled name ("photos", "mini"), a folder, or "owner/name@revision" on the Hugging Face Hub; None:
            what `checkpoint.default` says.
        device: "auto" (cuda, else mps, else cpu) or a torch device.
        combine, prompt: instead of the weights' own; see `SSegConfig`. S-Seg+ has neither.

    Raises:
        SSegError: no such weights, or damaged ones.
    """
    name = checkpoint.default() if name is None else name
    folder = checkpoint.resolve(name)
    if checkpoint.kind_of(folder) == checkpoint.PLUS:
        model = checkpoint.load_model(folder, SelfTrainedModel)
        quicken(model.backbone, model.config)
        return SelfTrainedSegmenter(model.to(devices.pick(device)), str(name))
    model = checkpoint.load_model(folder)
    quicken(model.encoder, model.config)
    tokenizer, words = checkpoint.load_tokens(folder), checkpoint.load_words(folder)
    return Segmenter(model.to(devices.pick(device)), tokenizer, words, str(name), combine, prompt)


def quicken(encoder, config) -> None:
    """An encoder of timm with its norms folded into its convolutions, laid out as these run fastest; in place."""
    if config.backbone.get("model_type") == "timm_backbone":
        fold_norms(encoder)
        encoder.to(memory_format=torch.channels_last)
