"""Panels about a division of an image, computed when they are opened: plain data for `components.panels`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sseg import images
from sseg.app import cells
from sseg.app.cluster_service import LEAST_K, MOST_K, ClusterService
from sseg.app.service import Recent
from sseg.errors import SSegError
from sseg.pseudo_masks.feature_map import SILHOUETTE_K
from sseg.pseudo_masks.result import enlarge

FIGURE_SIDE = 480  # longer side of the small pictures
HELD_POINTS = 1000


class PanelService:
    def __init__(self, clusters: ClusterService):
        self.clusters = clusters
        self._points = Recent(lambda points: len(points) <= HELD_POINTS)

    def known(self, path, settings, k) -> dict | None:
        """A point of the curves that was computed before."""
        return self._points.find((self.clusters.key(path, settings), k, settings.seed))

    def point(self, path, settings, k, at_stage) -> dict:
        """One point of the curves over K; {"k"} alone if the picture has fewer patches than that."""
        held = self.clusters.hold(path, settings, at_stage)
        at_stage(f"Trying {k} clusters, of up to {MOST_K}")
        enough = k <= held.found.grid[0] * held.found.grid[1]
        point = held.found.elbow([k], seed=settings.seed)[0] if enough else {"k": k}
        self._points.keep((held.key, k, settings.seed), point)
        return point

    def points(self, this, path, settings, ks, show=None):
        """Generator for `running.Run` `this`: points of the curves, each K in its own turn, so that other people's runs
        come in between; yields `show(points)` after each that was computed now."""
        points = []
        for k in ks:
            point = self.known(path, settings, k)
            if point is None:
                point = yield from self.clusters.run(this, self.point, path, settings, k)
                if show:
                    yield show([*points, point])
            points.append(point)
        return points

    def curves(self, points) -> dict:
        """For the page: points over K, and the K with the best silhouette among those that `Features.best_k` tries."""
        scored = [one for one in points if one["k"] in SILHOUETTE_K and one.get("silhouette") is not None]
        best = max(scored, key=lambda one: one["silhouette"])["k"] if scored else None
        points = [one for one in points if "unexplained" in one]
        return {"points": points, "best": best, "from": LEAST_K, "to": MOST_K}

    def seeds(self, path, settings, last, at_stage) -> dict:
        """The picture divided from three seeds, and how far they agree."""
        held = self.clusters.hold(path, settings, at_stage)
        runs = []
        for seed in range(settings.seed, settings.seed + 3):
            at_stage(f"Seed {seed}")
            runs.append(self.clusters.divide(held, replace(settings, seed=seed)))
        first = self.clusters.places(held, runs[0], last)
        pairs = [(a, b) for i, a in enumerate(runs) for b in runs[i + 1 :]]
        agreements = [a.agreement(b) for a, b in pairs]
        return {
            "headline": f"{np.mean(agreements):.2f}",
            "label": "mean agreement (adjusted Rand index)",
            "read": "1 is the same division, 0 is chance. Where seeds disagree, the features leave it open where a "
            "thing ends: try another K.",
            "figures": [
                painted(held, one, cells.palette_places(one.ids, runs[0].ids, first), f"Seed {one.seed}")
                for one in runs
            ],
            "heads": ["seeds", "agreement"],
            "rows": [
                [f"{a.seed} and {b.seed}", f"{agreement:.2f}"]
                for (a, b), agreement in zip(pairs, agreements, strict=True)
            ],
        }

    def beside(self, path, settings, last, second, at_stage) -> dict:
        """The picture divided by the settings `second` with another source, and how far the two agree."""
        held = self.clusters.hold(path, settings, at_stage)
        held_other = self.clusters.hold(path, second, at_stage)
        masks = self.clusters.divide(held, settings)
        masks_other = self.clusters.divide(held_other, second)
        places = self.clusters.places(held, masks, last)
        places_other = cells.palette_places(masks_other.ids, masks.ids, places)
        names = held.found.source, held_other.found.source
        return {
            "headline": f"{masks.agreement(masks_other):.2f}",
            "label": "agreement (adjusted Rand index)",
            "read": "1 is the same division, 0 is chance. Look where they differ: one may follow things where the "
            "other follows colour and light.",
            "figures": [
                painted(held, masks, places, f"{names[0]}: clusters"),
                painted(held_other, masks_other, places_other, f"{names[1]}: clusters"),
                coloured(held, f"{names[0]}: features as colours"),
                coloured(held_other, f"{names[1]}: features as colours"),
            ],
        }

    def truth(self, path, settings, last, truth, names, at_stage):
        """How well the clusters could do at best, each taking the class that most of its pixels have: for the page, and
        as JSON."""
        if not truth:
            raise SSegError("There is no ground truth yet: drop a PNG of class ids, or one with a palette.")
        held = self.clusters.hold(path, settings, at_stage)
        masks = self.clusters.divide(held, settings)
        at_stage("Comparing with the ground truth")
        names = [name.strip() or str(i) for i, name in enumerate(names.split(","))] if names else None
        mask = Path(truth).read_bytes()  # bytes: no path in messages
        score = masks.against(mask, class_names=names, full_size=held.full_size)
        places = self.clusters.places(held, masks, last)
        return shown_truth(held, masks, score, places), {"name": held.name, "truth": Path(truth).name, **score}


def shown_truth(held, masks, score, places) -> dict:
    clusters = cells.segments(masks, places)
    took = {one["id"]: [] for one in score["classes"]}
    for cluster, class_id in zip(clusters, score["assigned"], strict=True):
        took.setdefault(class_id, []).append({"name": str(cluster["id"] - 1), "color": cluster["color"]})
    accuracy, ignored = _percent(score["pixel_accuracy"]), _percent(100 * score["ignored"])
    return {
        "headline": _percent(score["oracle_miou"]),
        "label": "oracle mIoU",
        "read": "Each cluster takes the class that most of its pixels have: the best that these masks allow. "
        f"Pixel accuracy {accuracy}; {ignored} of the pixels have no class and do not count.",
        "figures": [painted(held, masks, places, "Clusters"), by_class(held, masks, score)],
        "heads": ["class", "IoU %", "area %", "clusters that took it"],
        "rows": [
            [one["name"], f"{one['iou']:.2f}", f"{100 * one['area']:.1f}", took[one["id"]]] for one in score["classes"]
        ],
    }


def _percent(value):
    return "–" if value is None else f"{value:.2f} %"


def by_class(held, masks, score) -> dict:
    """The clusters, each in the colour of the class that it took."""
    known = [one["id"] for one in score["classes"]]
    labels = np.array([known.index(a) if a in known else -1 for a in score["assigned"]])[masks.ids]
    shown = cells.fitted(held.picture.picture, FIGURE_SIDE)
    labels = enlarge(labels, (shown.height, shown.width))
    picture = images.overlay(np.array(shown), labels, images.colors(len(known)), opacity=0.6)
    return {"image": Image.fromarray(picture), "caption": "The same, each in the colour of its class"}


def painted(held, masks, places, caption) -> dict:
    """The picture with its clusters over it, for a figure."""
    shown = cells.fitted(held.picture.picture, FIGURE_SIDE)
    ids = enlarge(masks.ids, (shown.height, shown.width))
    picture = images.overlay(np.array(shown), ids, cells.palette(places), opacity=0.6)
    return {"image": Image.fromarray(picture), "caption": caption}


def coloured(held, caption) -> dict:
    """The features as colours, for a figure, in the proportions of the picture."""
    size = cells.fitted(held.picture.picture, FIGURE_SIDE).size
    return {"image": held.colours.picture.resize(size, Image.Resampling.NEAREST), "caption": caption}
