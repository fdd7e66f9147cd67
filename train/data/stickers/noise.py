"""Tools of procedural texturing: value noise and its fractal sum, jittered-grid (Worley) cells, scattered marks.

Batched over v variants; fields are (v, size, size), colours (v, 3, 1, 1) or (v, 3, size, size) RGB in 0..1.
"""

import math

import torch
import torch.nn.functional as F

TAU = 2 * math.pi


class Noise:
    """Random fields and colours of one material, all from one generator. Fields are (v, size, size)."""

    def __init__(self, seed: int, size: int):
        self.generator = torch.Generator().manual_seed(seed)
        self.size = size
        line = (torch.arange(size, dtype=torch.float32) + 0.5) / size
        self.y, self.x = torch.meshgrid(line, line, indexing="ij")  # each (size, size), 0..1, y downwards

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def number(self, v: int, low: float, high: float) -> torch.Tensor:
        """One number a variant, (v, 1, 1), to compute with fields."""
        return self.uniform(v, 1, 1, low=low, high=high)

    def coin(self, v: int) -> torch.Tensor:
        """(v, 1, 1) zeros and ones."""
        return (self.uniform(v, 1, 1) < 0.5).float()

    def colour(self, v: int, hue, saturation, value) -> torch.Tensor:
        """(v, 3, 1, 1) RGB with HSV drawn from the three (low, high) ranges; hue in turns, may exceed 0..1."""
        h, s, b = (self.uniform(v, low=low, high=high) for low, high in (hue, saturation, value))
        return hsv(h, s, b)[:, :, None, None]

    def grain(self, v: int) -> torch.Tensor:
        """White noise of deviation 1."""
        return torch.randn(v, self.size, self.size, generator=self.generator)

    def fbm(self, v: int, cells: float, octaves: int = 4, stretch: float = 1.0, gain: float = 0.5) -> torch.Tensor:
        """Fractal value noise of mean 0 and deviation 1; `stretch` > 1 draws features out along x, < 1 along y."""
        total = torch.zeros(v, self.size, self.size)
        for octave in range(octaves):
            n = cells * 2**octave
            rows, columns = max(2, round(n * stretch**0.5)) + 1, max(2, round(n / stretch**0.5)) + 1
            if max(rows, columns) > 1.5 * self.size:
                break
            grid = torch.randn(v, 1, rows, columns, generator=self.generator)
            field = F.interpolate(grid, (self.size, self.size), mode="bicubic", align_corners=True)
            total += gain**octave * field[:, 0]
        total -= total.mean((1, 2), keepdim=True)
        return total / total.std((1, 2), keepdim=True).clamp_min(1e-6)

    def cells(self, v: int, rows: int, columns: int, jitter: float, warp: torch.Tensor | None = None) -> "Cells":
        return Cells(self, v, rows, columns, jitter, warp)

    def worley(self, v: int, rows: int, columns: int, jitter: float = 0.8, warp: torch.Tensor | None = None):
        """Distances to the nearest and the second nearest point of a jittered grid, in cells, and its `Owner`.

        `warp` (v, 2, size, size) bends the cells, in cell units.
        """
        cells = self.cells(v, rows, columns, jitter, warp)
        first = torch.full((v, self.size, self.size), 9.0)
        second, owner = first.clone(), cells.no_owner()
        for near in cells:
            distance = torch.hypot(near.dx, near.dy)
            closer = distance < first
            second = torch.where(closer, first, torch.minimum(second, distance))
            first = torch.where(closer, distance, first)
            owner = torch.where(closer, near.at, owner)
        return first, second, cells.owner(owner)

    def scatter(self, v: int, rows: int, columns: int, shape):
        """Lay one mark a cell of a jittered grid, on top of each other in random order.

        `shape(cell) -> (v, size, size)` is positive inside the mark. Returns that height where a mark covers (else
        0) and the `Owner` of each pixel.
        """
        cells = self.cells(v, rows, columns, 0.9)
        height = torch.zeros(v, self.size, self.size)
        top, owner = torch.full_like(height, -1.0), cells.no_owner()
        for near in cells:
            here, order = shape(near), near.number(5)
            covers = (here > 0) & (order > top)
            top = torch.where(covers, order, top)
            height = torch.where(covers, here, height)
            owner = torch.where(covers, near.at, owner)
        return height, cells.owner(owner)


class Cells:
    """A jittered grid: iterating yields, for the nine cells around every pixel, one `Owner` each."""

    def __init__(self, noise: Noise, v: int, rows: int, columns: int, jitter: float, warp: torch.Tensor | None):
        self.rows, self.columns, self.shape = rows, columns, (v, noise.size, noise.size)
        self.points = noise.uniform(v, 2, rows * columns, low=0.5 - jitter / 2, high=0.5 + jitter / 2)
        self.numbers = noise.uniform(v, 6, rows * columns)
        # Without a warp, columns depend on x alone and rows on y alone: broadcasting saves most of the work.
        self.u, self.w = noise.x[None, :1] * columns, noise.y[None, :, :1] * rows
        if warp is not None:
            self.u, self.w = self.u + warp[:, 0], self.w + warp[:, 1]

    def no_owner(self) -> torch.Tensor:
        return torch.zeros(self.shape, dtype=torch.long)

    def __iter__(self):
        column, row = self.u.floor().long(), self.w.floor().long()
        for oy in (-1, 0, 1):
            for ox in (-1, 0, 1):
                at = ((row + oy) % self.rows) * self.columns + (column + ox) % self.columns
                yield Owner(self, at.expand(self.shape), self.u - (column + ox), self.w - (row + oy))

    def owner(self, at: torch.Tensor) -> "Owner":
        """The owner of each pixel from the cells' numbers (v, size, size); offsets go the short way round the rim."""
        dx, dy = self.u - at % self.columns, self.w - at.div(self.columns, rounding_mode="floor")
        return Owner(
            self,
            at,
            dx - self.columns * ((dx - 0.5) / self.columns).round(),
            dy - self.rows * ((dy - 0.5) / self.rows).round(),
        )


class Owner:
    """One cell for every pixel: the pixel's offset dx, dy from its point, in cells, and its random numbers."""

    def __init__(self, cells: Cells, at: torch.Tensor, dx: torch.Tensor, dy: torch.Tensor):
        self.cells, self.at, self.flat = cells, at, at.flatten(1)
        self.dx, self.dy = dx - self.pick(cells.points[:, 0]), dy - self.pick(cells.points[:, 1])

    def pick(self, values: torch.Tensor) -> torch.Tensor:
        return values.gather(1, self.flat).view(self.cells.shape)

    def number(self, i: int) -> torch.Tensor:
        """The cell's random number i of six, 0..1: (v, size, size)."""
        return self.pick(self.cells.numbers[:, i])

    def colour(self, *which: int) -> torch.Tensor:
        return torch.stack([self.number(i) for i in which], 1)


def hsv(h: torch.Tensor, s: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """HSV in 0..1 (hue periodic), any equal shapes (n, ...) -> RGB (n, 3, ...)."""
    k = (torch.stack([h * 6 + 5, h * 6 + 3, h * 6 + 1], 1)) % 6
    return v[:, None] * (1 - s[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))


def mix(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Colours a to b (v, 3, ...) by t (v, size, size) in 0..1."""
    t = t.clamp(0, 1)[:, None]
    return a * (1 - t) + b * t


def step(low: float, high: float, t: torch.Tensor) -> torch.Tensor:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = ((t - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def shade(colour: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
    """Multiply (v, 3, size, size) by 1 + light (v, size, size)."""
    return colour * (1 + light)[:, None]
