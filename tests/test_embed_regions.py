"""Somebody else's regions, named by our weights: `OpenVocabularySegmenter.embed_regions`."""

import numpy as np
import pytest
import torch
from PIL import Image

import sseg
from sseg import SSegError
from sseg.paths import ASSETS


@pytest.mark.parametrize("weights", ["photos", "mini"])
def test_given_regions_mean_what_the_models_own_do(weights):
    seg = sseg.load(weights, device="cpu")
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, :128], image[:, 128:] = (40, 90, 200), (60, 140, 40)
    halves = np.zeros((2, 512, 512), bool)
    halves[0, :, :256] = halves[1, :, 256:] = True
    given = seg.embed_regions(image, halves)
    assert given.shape == (2, seg.model.config.embed_dim)
    assert torch.allclose(given.norm(dim=1), torch.ones(2), atol=1e-5) and given[0] @ given[1] < 0.99
    assert torch.allclose(seg.embed_regions(image, halves[::-1].copy()), given.flip(0), atol=1e-4)  # each by itself


def test_own_masks_given_back_keep_their_meaning():
    seg = sseg.load("photos", device="cpu")
    image = np.asarray(Image.open(ASSETS / "examples" / "astronaut.jpg").convert("RGB"))
    encoded = seg.encode(image)
    own = torch.stack([encoded.mask_logits.argmax(0) == i for i in range(len(encoded.mask_logits))])
    large = (own.flatten(1).sum(1) > own[0].numel() / 20).nonzero()[:, 0]
    given = seg.embed_regions(image, own[large].numpy())
    assert (given * encoded.mask_embeddings[large]).sum(1).min() > 0.9
    assert (given @ encoded.mask_embeddings.T).argmax(1).tolist() == large.tolist()


def test_regions_that_cannot_be_named_are_refused():
    seg, image = sseg.load("mini", device="cpu"), np.zeros((64, 64, 3), np.uint8)
    for masks in (np.zeros((1, 64, 64)), np.zeros((64, 64), bool), np.zeros((0, 64, 64), bool)):
        with pytest.raises(SSegError, match="array \\(N, H, W\\) of bool"):
            seg.embed_regions(image, masks)
