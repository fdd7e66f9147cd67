"""What the Pseudo-masks tab asks: features held in memory, divided anew as often as a slider moves.

Features are held outside Gradio's session state, by picture, source, facet and resolution. A network runs in the one
thread that all networks share. Dividing features that are held is quick and has a thread of its own, so that a slider
never waits for somebody else's network; so have spectral clustering, which takes seconds, and fetching weights, which
may take minutes.
"""

import base64
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from sseg import features, images
from sseg.app import cells
from sseg.app.components.viewer import Saved, pack_ids
from sseg.app.service import VIEW_PIXELS, Recent, Service, data_url, image_key
from sseg.arguments import whole
from sseg.errors import SSegError
from sseg.pseudo_masks.masker import PseudoMasker, check

LEAST_K, MOST_K = 2, 24
START_K, START_RESOLUTION = 8, 448
RESOLUTIONS = (224, 336, 448, 672)  # of the menu; programs may send any up to the last
LEAST_RESOLUTION = 64
DINO_SIZE = "86 MB"  # of its weights
HELD_BYTES = 256 << 20  # features kept in memory
HELD_MASKS = 64  # divisions kept of one picture's features


@dataclass(frozen=True)
class Settings:
    """How a picture is divided: the arguments of PseudoMasker and its methods."""

    features: str = "auto"
    k: int = START_K
    facet: str | None = None
    resolution: int = START_RESOLUTION
    seed: int = 0
    method: str = "kmeans"

    @classmethod
    def read(cls, source, k, facet, resolution, seed, method) -> "Settings":
        """From what the page or a program sends. SSegError for what is no number, a K outside the slider, a resolution
        beyond the menu, or a source outside of it: what the library takes besides would let strangers fetch weights and
        read folders."""
        k = whole(k, "K, the number of clusters,", LEAST_K, MOST_K)
        names = [name for name, _ in features.names()]
        if source not in names:
            raise SSegError(f"There are no features {source!r} here: choose one of {', '.join(names)}.")
        resolution = whole(resolution, "The resolution", LEAST_RESOLUTION, RESOLUTIONS[-1])
        check(k, seed, resolution, method)
        return cls(source, k, str(facet) if facet else None, resolution, int(seed), method)


@dataclass
class Held:
    """The features of one picture."""

    key: str
    name: str
    picture: Saved  # as it is shown, at most VIEW_PIXELS
    found: object  # sseg.pseudo_masks.feature_map.Features
    colours: Saved  # (h, w) the features as colours
    masker: PseudoMasker  # that made them
    full_size: tuple[int, int]  # (H, W) of the picture upright, before it was scaled down
    seconds: float  # that the features took
    masks: Recent = field(default_factory=lambda: Recent(lambda held: len(held) <= HELD_MASKS))

    @property
    def nbytes(self):
        width, height = self.picture.picture.size
        centred = self.found.tokens.nbytes  # a copy that the features keep of themselves
        return self.found.nbytes + centred + 3 * width * height


class ClusterService:
    """Features and divisions behind the tab. Weights are read in `fetching`, networks run in `submit`; what is done
    with their features goes through `quick`, or `_slow` if it takes seconds."""

    def __init__(self, service: Service):
        self.submit = service.submit
        self._quick = ThreadPoolExecutor(1, "clusters")
        self._slow = ThreadPoolExecutor(1, "spectral")
        self.fetching = ThreadPoolExecutor(2, "weights")
        self._held = Recent(lambda held: sum(one.nbytes for one in held) <= HELD_BYTES)
        self._maskers = {}  # source and facet -> PseudoMasker, as many as the menu has
        self._shown = Recent(lambda shown: len(shown) <= 4 * HELD_MASKS)  # key -> key of its features, settings
        self._taken = {}  # source and facet as asked for -> name and facet as taken: "auto" is held but once
        self._runs = itertools.count()

    def quick(self, work, *args):
        return self._quick.submit(work, *args)

    def run(self, this, work, path, settings, *args):
        """Generator for `running.Run` `this`: `work(path, settings, *args, at_stage)` where it disturbs nobody."""
        if path and not self._held.find(self.key(path, settings)):
            yield from this.job(self.fetching.submit, self.fetch, settings)
            yield from this.job(self.submit, self.hold, path, settings)
        lane = self._slow.submit if settings.method == "spectral" else self.quick
        return (yield from this.job(lane, work, path, settings, *args))

    # ---- features and divisions --------------------------------------------------------------------------------
    def key(self, path, settings):
        asked = settings.features, settings.facet
        source, facet = self._taken.get(asked, asked)
        return "/".join((image_key(path), source, facet or "", str(settings.resolution)))

    def hold(self, path, settings, at_stage=lambda stage: None) -> Held:
        """The features of a picture file, from memory if they are held already."""
        if not path:
            raise SSegError("There is no picture yet: drop one, paste one, or pick an example.")
        at_stage("Reading the picture")
        key = self.key(path, settings)
        held = self._held.find(key)
        if held:
            return held
        shown, full = images.read_sized(path, max_pixels=VIEW_PIXELS)
        masker = self.fetch(settings, at_stage)
        at_stage("Computing features")
        start = time.perf_counter()
        found = masker.encode(path, resolution=settings.resolution)
        seconds = time.perf_counter() - start
        for facet in (settings.facet, found.facet):  # the page asks for none at first, then for the one it was given
            self._taken[settings.features, facet] = found.source, found.facet
        key = self.key(path, settings)
        held = Held(key, Path(path).name, Saved(Image.fromarray(shown)), found, Saved(Image.fromarray(found.pca())),
                    masker, full, seconds)  # fmt: skip
        self._held.keep(key, held)
        return held

    def fetch(self, settings, at_stage=lambda stage: None) -> PseudoMasker:
        """The feature source, with its weights, which have to be on this machine; kept in memory."""
        which = (settings.features, settings.facet)
        if which not in self._maskers:
            at_stage(f"Loading the features “{settings.features}”")
            masker = PseudoMasker(*which, fetch=False)
            self._maskers[which] = self._maskers[settings.features, masker.facet] = masker
        return self._maskers[which]

    def fetch_dino(self, at_stage):
        """Fetch DINO from the Hub, because somebody asked for it; from then on it is the best that can be had."""
        at_stage(f"Fetching {DINO_SIZE} from the Hugging Face Hub")
        masker = PseudoMasker("dino")
        self._taken = {asked: taken for asked, taken in self._taken.copy().items() if asked[0] != "auto"}
        self._maskers = {asked: one for asked, one in self._maskers.copy().items() if asked[0] != "auto"}
        self._maskers["dino", None] = self._maskers["dino", masker.facet] = masker

    def divide(self, held: Held, settings: Settings):
        """The pseudo-masks of held features; the same question is answered from memory."""
        question = (settings.k, settings.seed, settings.method)
        masks = held.masks.find(question)
        if masks is None:
            masks = held.masker.cluster(held.found, settings.k, settings.seed, settings.method)
            held.masks.keep(question, masks)
        return masks

    def find(self, key):
        """Held features and pseudo-masks of an earlier answer, and its settings."""
        shown = self._shown.find(str(key))
        held = shown and self._held.find(shown[0])
        if not held:
            raise SSegError("These pseudo-masks are no longer in memory: make them again.")
        return held, self.divide(held, shown[1]), shown[1]

    # ---- what the page shows ------------------------------------------------------------------------------------
    def make(self, path, settings, last, at_stage=lambda stage: None) -> dict:
        """Viewer data of a picture file. `last`: {"key", "places", "features"} of the visitor's answer before, so that
        clusters keep their colours."""
        held = self.hold(path, settings, at_stage)
        at_stage("Finding clusters")
        start = time.perf_counter()
        masks = self.divide(held, settings)
        seconds = time.perf_counter() - start
        key = f"{held.key}/{settings.k}/{settings.seed}/{settings.method}"
        self._shown.keep(key, (held.key, settings))
        places = self.places(held, masks, last)
        return {
            "image": held.picture,
            "mask": pack_ids(masks.ids + 1, cells.typicality(masks)),
            "colours": held.colours,
            "segments": cells.segments(masks, places),
            "key": key,
            "features": held.key,
            "places": places,
            "settings": {**asdict(settings), "features": held.found.source, "facet": held.found.facet},
            "name": held.name,
            "note": _note(held, seconds, again=bool(last) and last["features"] == held.key),
            "run": next(self._runs),
        }

    def places(self, held, masks, last) -> list[int]:
        """Palette places of the clusters; near those of the answer before, if it was about the same patches."""
        shown = last and self._shown.find(last["key"])
        if not shown or shown[0] != held.key:
            return cells.palette_places(masks.ids)
        return cells.palette_places(masks.ids, self.divide(held, shown[1]).ids, last["places"])

    def report(self, key, outlines="cells") -> dict:
        """An answer as JSON: what `PseudoMasks.to_json` says, with the key for more questions."""
        held, masks = self.outlined(key, outlines)
        return {"key": key, "name": held.name, "full_size": list(held.full_size), **masks.to_json()}

    def outlined(self, key, outlines):
        """Features and division of an earlier answer, its outlines as asked for."""
        held, masks, _ = self.find(key)
        check(outlines=outlines)
        return held, replace(masks, outlines=outlines)

    def outlines(self, key) -> dict:
        """An answer's mask with outlines that follow the picture, as `make` packs the one with those of patches."""
        fine = self.outlined(key, "picture")[1].fine
        return {"mask": data_url(pack_ids(fine + 1, np.ones(fine.shape)))}

    # ---- one patch ----------------------------------------------------------------------------------------------
    def similar(self, key, row, column) -> dict:
        """Similarity of one patch to all others, as a grey picture (0 = -1, 255 = 1) and a summary."""
        _, masks, _ = self.find(key)
        similarity, summary = cells.compare(masks, int(row), int(column))
        gray = Image.fromarray(((similarity + 1) * 127.5).round().clip(0, 255).astype(np.uint8))
        return {"map": data_url(gray), **summary}

    def explain(self, key, x, y):
        """The same for the patch under pixel (x, y) of the picture: heat map over all of it, and JSON."""
        held, masks, _ = self.find(key)
        (height, width), (rows, columns) = held.found.size, held.found.grid
        x, y = whole(x, "The pixel's x", 0, width - 1), whole(y, "The pixel's y", 0, height - 1)
        row, column = y * rows // height, x * columns // width
        similarity, summary = cells.compare(masks, row, column)
        heat = Image.fromarray(colormaps["RdYlBu_r"]((similarity + 1) / 2, bytes=True)[..., :3])
        heat = heat.resize(held.picture.picture.size, Image.Resampling.NEAREST)
        return heat, {"key": key, **summary, "map": similarity.astype(float).round(4).tolist()}

    def file(self, key, kind, outlines="cells") -> dict:
        """A download: the id PNG or the JSON with COCO run lengths, as base64."""
        if kind == "json":
            data, mime, ending = json.dumps(self.report(key, outlines)).encode(), "application/json", ".json"
        else:
            held, masks = self.outlined(key, outlines)
            data, mime, ending = masks.id_png(held.full_size), "image/png", "-clusters.png"
        return {"data": base64.b64encode(data).decode(), "type": mime, "ending": ending}


def _note(held, dividing, again):
    """One line about a run. again: the visitor's own last answer was about these features; to others it must not tell
    whether somebody had the picture before."""
    (height, width), shown = held.full_size, held.picture.picture.size
    rows, columns = held.found.grid
    size = f"{width} × {height} pixels" + (", shown at {} × {}".format(*shown) if shown != (width, height) else "")
    took = "features from memory" if again else f"features {1000 * held.seconds:.0f} ms"
    return f"{size} · {columns} × {rows} patches · {took}, clusters {1000 * dividing:.0f} ms"
