"""The segmenter's own view of a picture: the features that its masks are made of."""

from typing import Any

import torch
import torch.nn.functional as F

from sseg.features.base import FeatureSource, check_pixels, normalised

AT_ONCE = 8  # pictures that go through the network together
COARSEST = 32  # the encoder's last stride: sides are multiples of it


class OwnFeatures(FeatureSource):
    """Pixel embeddings of the MaskFormer pixel decoder, resized bilinearly to the grid, as unit vectors.

    The picture is seen at the size that the weights were trained at, whatever the grid.
    """

    name = "sseg"
    label = "S-Seg's own pixel embeddings"
    stride = 4

    def __init__(self, weights: str | None = None, device="cpu"):
        """`weights`: what `sseg.load` takes, None for the bundled "mini"; SSegError if there are none of that name."""
        from sseg import checkpoint

        if weights is not None:
            self.name, self.label = f"sseg:{weights}", f"{self.label} ({weights})"
        model: Any = checkpoint.load_model(checkpoint.resolve("mini" if weights is None else weights))
        self.config, self.device = model.config, torch.device(device)
        self.network = model.segmenter.pixel_level_module.to(device)

    def __call__(self, pixels, grid):
        """pixels (B, 3, H, W) uint8, grid (h, w) -> unit vectors (B, h, w, d) float32 on the device of the pixels."""
        check_pixels(pixels, grid)
        found = torch.cat([self._run(batch, tuple(grid)).to(pixels.device) for batch in pixels.split(AT_ONCE)])
        return F.normalize(found, dim=1).permute(0, 2, 3, 1)

    @torch.inference_mode()
    def _run(self, pixels, grid):
        x = normalised(pixels, self._size(pixels), self.config.pixel_mean, self.config.pixel_std, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            planes = self.network(x).decoder_last_hidden_state.float()  # (B, d, H / 4, W / 4)
        return F.interpolate(planes, size=grid, mode="bilinear", antialias=True)

    def _size(self, pixels):
        """Height and width for the network: the longer side as in training, multiples of the coarsest stride."""
        scale = max(self.config.image_size, 2 * COARSEST) / max(pixels.shape[-2:])
        return tuple(max(COARSEST, round(side * scale / COARSEST) * COARSEST) for side in pixels.shape[-2:])
