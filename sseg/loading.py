"""Weights by name -> what encodes pictures and answers questions."""

import numpy as np
import torch

from sseg import checkpoint, devices
from sseg.errors import SSegError, SSegValueError
from sseg.fixed_vocabulary import FixedVocabularySegmenter
from sseg.models.folding import fold_norms
from sseg.models.student import SelfTrainedModel
from sseg.open_vocabulary import OpenVocabularySegmenter
from sseg.segmenter import Segmenter


def load(name=None, device="auto", *, combine: str | None = None, prompt: str | None = None) -> Segmenter:
    """Load weights: an `OpenVocabularySegmenter`, or a `FixedVocabularySegmenter` where they are S-Seg+.

    Args:
        name: a bundled name ("photos", "mini"), a folder, or "owner/name@revision" on the Hugging Face Hub; None:
            what `checkpoint.default` says.
        device: "auto" (cuda, else mps, else cpu) or a torch device.
        combine: "soft" or "hard", how masks and classes meet, instead of the weights' own. S-Seg+ has no choice.
        prompt: a text with {} for the phrase, instead of the weights' own. S-Seg+ has none.

    Raises:
        SSegError: weights that are damaged, or that the Hub does not give.
        SSegValueError: no such weights or device, a way of combining that there is not, a prompt without {}.
    """
    name = checkpoint.default() if name is None else name
    if combine is not None and not (isinstance(combine, str) and combine in ("soft", "hard")):
        raise SSegValueError(f'Masks combine "soft" or "hard", not {combine!r:.40}.')
    if prompt is not None and not (isinstance(prompt, str) and "{}" in prompt):
        raise SSegValueError('A prompt is a text with {} where the phrase goes, such as "a photo of a {}".')
    device = devices.pick(device)
    folder = checkpoint.resolve(name)
    if checkpoint.kind_of(folder) == checkpoint.PLUS:
        model = checkpoint.load_model(folder, SelfTrainedModel)
        quicken(model.backbone, model.config)
        segmenter = FixedVocabularySegmenter(model.to(device), str(name))
        _try(segmenter, folder)
        return segmenter
    model = checkpoint.load_model(folder)
    quicken(model.encoder, model.config)
    tokenizer = checkpoint.load_tokens(folder, model.config.text_vocab_size)
    words = checkpoint.load_words(folder)
    trial = OpenVocabularySegmenter(model.to(device), tokenizer, words[:10], "trial")  # keeps what it embeds for itself
    _try(trial, folder)
    return OpenVocabularySegmenter(model, tokenizer, words, str(name), combine=combine, prompt=prompt)


def quicken(encoder, config) -> None:
    """An encoder of timm with its norms folded into its convolutions, laid out as these run fastest; in place."""
    if config.backbone.get("model_type") == "timm_backbone":
        fold_norms(encoder)
        encoder.to(memory_format=torch.channels_last)


def _try(segmenter: Segmenter, folder) -> None:
    """Ask about a tiny picture of noise: SSegError for weights that load, but that nothing can be computed with."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    try:
        asked = segmenter.categories[:1] if segmenter.categories else "a"
        works = segmenter.ask(segmenter.encode(noise, long_side=64), asked).coarse_scores.isfinite().all()
    except Exception as error:  # whatever a size that no check knows leads to
        works, problem = False, error  # type: ignore[assignment]
    else:
        problem = None  # type: ignore[assignment]
    if not works:
        raise SSegError(f'The weights in "{folder}" cannot answer a question: get the folder again.') from problem
