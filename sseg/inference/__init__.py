"""From an image's masks and embeddings to scores and labels: pure functions of tensors, one step of the way a file.

`views` sizes and normalises what the model sees, `smoothing` lets masks end where colours do, `scoring` lets masks and
phrases meet, `upsampling` gives each pixel its best phrase.
"""

from sseg.inference.scoring import LIKELY, class_logits, class_scores, combine_scores, contrast, mask_weights
from sseg.inference.smoothing import smooth_masks
from sseg.inference.upsampling import at_pixel, contenders, top_class, upsample
from sseg.inference.views import OUTSIDE, STRIDE, assemble, normalise, prepare, resize, target_size, windows

__all__ = [
    "LIKELY", "OUTSIDE", "STRIDE", "assemble", "at_pixel", "class_logits", "class_scores", "combine_scores",
    "contenders", "contrast", "mask_weights", "normalise", "prepare", "resize", "smooth_masks", "target_size",
    "top_class", "upsample", "windows",
]  # fmt: skip
