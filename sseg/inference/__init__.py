"""From an image's masks and embeddings to scores and labels: pure functions of tensors, one step of the way a file.

`views` sizes and normalises what the model sees, `smoothing` lets masks end where colours do, `scoring` lets masks and
phrases meet, `upsampling` gives each pixel its best phrase.
"""

from sseg.inference.scoring import LIKELY, class_logits, class_scores, combine_scores, contrast, mask_weights
from sseg.inference.smoothing import finer_masks, smooth_masks
from sseg.inference.upsampling import at_pixel, contenders, top_class, upsample
from sseg.inference.views import OUTSIDE, STRIDE, assemble, normalise, resize, target_size, unmirrored, windows

__all__ = [
    "LIKELY", "OUTSIDE", "STRIDE", "assemble", "at_pixel", "class_logits", "class_scores", "combine_scores",
    "contenders", "contrast", "finer_masks", "mask_weights", "normalise", "resize", "smooth_masks", "target_size",
    "top_class", "unmirrored", "upsample", "windows",
]  # fmt: skip
