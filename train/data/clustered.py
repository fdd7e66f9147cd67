"""Pictures with the clusters that features of our own divide them into: what `train.cluster_distill` learns from.

Made once, in parts, each kept in a file of the run's folder: after a kill the same command makes those that lack, and
several processes share them.
"""

import json
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from sseg.errors import SSegError
from sseg.features.small_vit import MiniFeatures
from sseg.pseudo_masks.edges import colours, follow
from sseg.pseudo_masks.generate import grid_of
from sseg.pseudo_masks.kmeans import kmeans
from train.checkpoints import save_tensors
from train.data.stickers.world import StickerWorld
from train.data.tars import TarPairs, crop_windows, cut
from train.data.views import jitter
from train.files import remove_unfinished, write_whole
from train.recipe import mapping_of
from train.recipe.features import ClusterImages, ClusterStage, ClusterTeacher

PART = 1000  # pictures of a file
STEPS = 20  # of K-Means
SCENES_FROM = 500_000_000  # seeds of scenes: others than `Pictures` renders


class ClusteredImages:
    """Photographs and rendered scenes, squashed to squares, each with several clusterings of its cells.

    pixels (N, 3, S, S) uint8; aspects (N,) width / height; ids (N, c, S / 5, S / 5) uint8, squashed alike, one
    clustering for each number of `k`.
    """

    def __init__(self, data: ClusterImages, teacher: ClusterTeacher, seed: int, out: Path, device, rank: int = 0,
                 world: int = 1):  # fmt: skip
        """Open the clusters of the run's folder, made first where they lack.

        data: `size` S; `photographs`, a folder of tars, or None; `scenes`, how many to render, and their
        `difficulty`; `share` of scenes in a batch. teacher: `weights`, a folder of train.distill, the `scales` that
        they look at, `k`, the numbers of clusters, and the `resolution` of cells (`grid_of`).
        Raises SSegError: the folder holds clusters made in another way.
        """
        self.data, self.teacher, self.seed, self.device = data, teacher, seed, torch.device(device)
        self.folder = Path(out) / "clusters"
        self._claim(rank)
        if world > 1:
            dist.barrier()  # the leader takes unfinished files away, and writes down how clusters are made
        photographs = TarPairs(data.photographs, seed, "cpu", data.size) if data.photographs else None
        plan = [("photographs", start) for start in range(0, len(photographs or ()), PART)]
        plan += [("scenes", start) for start in range(0, data.scenes, PART)]
        self._make(plan[rank::world], photographs)
        if world > 1:
            dist.barrier()
        parts = {
            kind: [load_file(self._path(kind, start)) for name, start in plan if name == kind]
            for kind in ("photographs", "scenes")
        }
        self.kinds = {
            kind: {name: torch.cat([part[name] for part in found]) for name in ("pixels", "aspects", "ids")}
            for kind, found in parts.items()
            if found
        }

    def batch(self, seed: int, n: int, stage: ClusterStage, colour: float) -> tuple[Tensor, Tensor]:
        """Windows of n pictures in changed colours: float (n, 3, s, s), 0..255, and the clusters of their patches,
        (n, c, s / 8, s / 8) int64: those at the patches' centres. A function of its arguments."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_000_007 + seed)
        scenes = round(n * self.data.share) if len(self.kinds) == 2 else n * ("scenes" in self.kinds)
        counts = {"photographs": n - scenes, "scenes": scenes}
        found = {
            name: torch.cat([self._drawn(kind, count, seed)[name] for kind, count in counts.items() if count])
            for name in ("pixels", "aspects", "ids")
        }
        draws, side = torch.rand(4, n, generator=generator), stage.size
        theta = crop_windows(found["aspects"], draws, stage.area).to(self.device)
        window = cut(found["pixels"].to(self.device), theta, side).float()
        ids = found["ids"].to(self.device).float()
        grid = F.affine_grid(theta, [n, 1, side // 8, side // 8], align_corners=False)
        ids = F.grid_sample(ids, grid, mode="nearest", padding_mode="border", align_corners=False)
        return jitter(window, colour, generator), ids.long()

    def _drawn(self, kind: str, count: int, seed: int) -> dict[str, Tensor]:
        held = self.kinds[kind]
        generator = torch.Generator().manual_seed(self.seed * 1_000_000_009 + seed)
        rows = torch.randint(len(held["pixels"]), (count,), generator=generator)
        return {name: tensor[rows] for name, tensor in held.items()}

    def _claim(self, rank: int) -> None:
        """Say in the folder how its clusters are made; refuse one of another way."""
        data = {key: value for key, value in mapping_of(self.data).items() if key != "share"}
        way, path = {"data": data, "teacher": mapping_of(self.teacher), "seed": self.seed}, self.folder / "meta.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != way:
            raise SSegError(f"{self.folder} holds clusters made in another way: delete it, or change out=.")
        if rank == 0:
            remove_unfinished(self.folder)
            write_whole(path, json.dumps(way))  # never half a file for the other processes to read

    def _path(self, kind: str, start: int) -> Path:
        return self.folder / f"{kind}-{start:06d}.safetensors"

    def _make(self, plan: list[tuple[str, int]], photographs) -> None:
        lacking = [(kind, start) for kind, start in plan if not self._path(kind, start).is_file()]
        if not lacking:
            return
        source = MiniFeatures(self.device, self.teacher.weights, scales=self.teacher.scales)
        world = StickerWorld(self.data.size, self.device) if self.data.scenes else None
        for kind, start in lacking:
            if kind == "photographs":
                rows = photographs.rows[start : start + PART]
                pixels, aspects = photographs.pixels[rows], photographs.aspects[rows].float()
            else:
                count = min(PART, self.data.scenes - start)
                number = self.seed * 1_000_000_000 + SCENES_FROM + start
                pixels = world.batch(number, count, self.data.difficulty)[0].cpu()
                aspects = torch.ones(count)
            ids = torch.stack([self.clusters(source, *one) for one in zip(pixels, aspects.tolist(), strict=True)])
            save_tensors(self._path(kind, start), {"pixels": pixels.contiguous(), "aspects": aspects, "ids": ids})
            print(f"clustered {kind} {start} to {start + len(pixels)}", flush=True)

    @torch.inference_mode()
    def clusters(self, source, pixels: Tensor, aspect: float) -> Tensor:
        """Clusterings of one picture (3, S, S) uint8 in its true shape -> (c, S / 5, S / 5) uint8, squashed again."""
        side = self.data.size
        height, width = (round(side * max(1, ratio)) for ratio in (1 / aspect, aspect))
        true = F.interpolate(pixels[None].float(), (height, width), mode="bilinear", align_corners=False)
        grid = grid_of(height, width, self.teacher.resolution)
        cells = source(true.round().to(torch.uint8).to(self.device), grid).flatten(1, 2)  # (1, T, d)
        ids = torch.stack([kmeans(cells, k, STEPS, seeds=k).labels[0] for k in self.teacher.k])
        ids = follow(ids.unflatten(1, grid), colours(true[0], grid).to(ids.device))[None].float()
        return F.interpolate(ids, (side // 5, side // 5), mode="nearest-exact")[0].to(torch.uint8).cpu()
