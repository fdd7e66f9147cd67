"""The small ViT of features-mini: a convolutional stem down to patches of 8 pixels, then transformer blocks."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from sseg.errors import SSegError
from sseg.models import config_rules
from sseg.models.tensors import check_header, check_values

PATCH = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Stem(nn.Module):
    """Three 3x3 convolutions of stride 2 instead of one of 8x8: learns much faster (Xiao et al. 2021, "Early
    convolutions help transformers see better")."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        sizes = (3, *widths)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.GELU())
            for a, b in zip(sizes, widths, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, d, H/8, W/8)."""
        for layer in self.layers:
            x = layer(x)
        return x


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, heads, T, e) without the fused kernel, whose backward pass takes three times as long on a CPU."""
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


class Block(nn.Module):
    """Pre-norm transformer block with a depthwise convolution beside attention, which tells patches where they are
    to one another (conditional position encoding, Chu et al. 2021), so that any size of picture may come."""

    def __init__(self, width: int, heads: int, ratio: float):
        super().__init__()
        self.heads, hidden = heads, int(ratio * width)
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, 1 + T, d), the first that of the view, on a grid (h, w) of T cells."""
        b, n, d = x.shape
        planes = x[:, 1:].transpose(1, 2).reshape(b, d, *grid)
        x = torch.cat([x[:, :1], x[:, 1:] + self.place(planes).flatten(2).transpose(1, 2)], 1)
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attend = plain_attention if self.training else F.scaled_dot_product_attention
        x = x + self.proj(attend(q, k, v).transpose(1, 2).reshape(b, n, d))
        return x + self.mlp(self.norm2(x))


class State(NamedTuple):
    """Tokens (B, 1 + h * w, d) after a block, and (h, w)."""

    tokens: Tensor
    grid: tuple[int, int]


class SmallViT(nn.Module):
    """Pictures (B, 3, H, W), sides multiples of 8 -> unit vectors of patches (B, H/8, W/8, e) and views (B, e)."""

    def __init__(self, width: int = 128, depth: int = 4, heads: int = 4, ratio: float = 2, stem=(32, 64), out=64):
        super().__init__()
        self.config = {"width": width, "depth": depth, "heads": heads, "ratio": ratio, "stem": list(stem), "out": out}
        self.stem = Stem((*stem, width))
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.cls, std=0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors of patches (B, H/8, W/8, e), and of views (B, e)."""
        *_, last = self.states(x)
        tokens = F.normalize(self.project(self.norm(last.tokens)), dim=-1)
        return tokens[:, 1:].unflatten(1, last.grid), tokens[:, 0]

    def states(self, x: Tensor):
        """What comes out of each block in turn: tokens (B, 1 + T, d), the first that of the view, and their grid."""
        planes = self.stem(x)
        grid = tuple(planes.shape[-2:])
        x = torch.cat([self.cls.expand(len(x), -1, -1), planes.flatten(2).transpose(1, 2)], 1)
        for block in self.blocks:
            x = block(x, grid)
            yield State(x, grid)

    def forward_intermediates(self, x: Tensor, indices: list[int], intermediates_only: bool = True) -> list[Tensor]:
        """Patches after these blocks, each (B, d, H/8, W/8): timm's interface of the same name."""
        states = list(self.states(x))
        return [states[i].tokens[:, 1:].transpose(1, 2).unflatten(2, states[i].grid) for i in indices]


def load_network(folder: Path) -> SmallViT:
    """The network of config.json and model.safetensors, in single precision. Raises SSegError: a file is damaged."""

    def complain(what):
        raise SSegError(f"The weights in {folder} are damaged: {what}; get them again.")

    try:
        sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config_rules.check({"backbone": sizes})
        with torch.device("meta"):  # first numbers would be drawn for nothing
            network = SmallViT(**sizes)
        check_header(folder / "model.safetensors", network.state_dict(), complain)
        network.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    except SSegError:
        raise
    except Exception as error:  # sizes that do not fit together fail in many ways
        raise SSegError(f"The weights in {folder} are damaged: get them again.") from error
    check_values(network.state_dict(), complain)
    try:
        with torch.inference_mode():
            works = network.float().eval()(torch.zeros(1, 3, 2 * PATCH, 2 * PATCH))[0].isfinite().all()
    except Exception:  # heads that do not divide the width, or none
        works = False
    if not works:
        complain("nothing can be computed with them")
    return network.train()
