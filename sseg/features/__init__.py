"""Feature sources: what K-Means sees of a picture. Every source gives one vector a cell of any grid."""

from sseg.arguments import of_type
from sseg.errors import SSegError
from sseg.features.base import NAMES, FeatureSource, cell_means, check_facet, positions
from sseg.features.encoder import EncoderFeatures
from sseg.features.pixel_decoder import OwnFeatures
from sseg.features.pixels import PixelFeatures
from sseg.features.small_vit import MiniFeatures
from sseg.features.textons import TextonFeatures
from sseg.features.timm_vit import DINO_LABEL, ViTFeatures, at_hand
from sseg.hub import HubError

__all__ = ["FeatureSource", "at_hand", "cell_means", "names", "positions", "source"]

PATIENCE = 3.0  # seconds for the Hub to say whether it has DINO, before "auto" takes something else

_LABELS = {"auto": "the best that can be had: DINO, else mini", "dino": DINO_LABEL}
_KINDS = {kind.name: kind for kind in (EncoderFeatures, MiniFeatures, OwnFeatures, PixelFeatures, TextonFeatures)}


def source(name: str, facet: str | None = None, device="cpu", fetch: bool = True) -> FeatureSource:
    """The feature source of that name; with a network, it may be downloaded first.

    Args:
        name: "auto" (DINO if its weights are here or can be fetched, else "mini"; the source's `name` and `note` say
            which), "dino" (ViT-S/8), "mini" (the bundled ViT), "encoder" (the image encoder of the bundled weights
            "photos", which has seen ImageNet's class labels), "sseg" or "sseg:WEIGHTS" (the pixel embeddings of the
            bundled segmenter or of other weights, see `sseg.load`), "textons" (texture, colour and position), "pixels"
            (colour and position), or a ViT by its name in timm, such as "vit_small_patch14_dinov2.lvd142m".
        facet: one of the source's `facets`; None is its first.
        device: where a source with a network runs.
        fetch: whether a ViT's weights may be fetched from the Hub; False: those in the cache have to do.
    Raises:
        SSegError: there is no such source, it has no such facet, or its weights cannot be had or are damaged.
    """
    of_type(name, str, "A feature source is named by a text")
    if facet is not None:
        of_type(facet, str, "A facet is named by a text")
    made = _make(name, facet, device, fetch)
    check_facet(made, facet)
    return made


def names() -> list[tuple[str, str]]:
    """Name and label of the sources that a menu shows, the best first."""
    return [(name, _LABELS.get(name) or _KINDS[name].label) for name in NAMES]


def _make(name, facet, device, fetch):
    kind, _, weights = name.partition(":")
    if name == "auto":
        return _best(facet, device, fetch)
    if name == "encoder":
        return EncoderFeatures(facet, device)
    if name == "mini":
        return MiniFeatures(device)
    if kind == "sseg":
        return OwnFeatures(weights if ":" in name else None, device)
    if name in _KINDS:
        return _KINDS[name]()
    return ViTFeatures(name, facet, device, fetch=fetch)


def _best(facet, device, fetch):
    try:
        made: FeatureSource = ViTFeatures("dino", facet, device, PATIENCE, fetch)
        made.note = "dino was taken: its weights are here."
        return made
    except SSegError as error:
        if not isinstance(error.__cause__, HubError):
            raise
        why = f"dino could not be fetched ({error.__cause__})" if fetch else "dino is not on this machine"
    try:
        made = MiniFeatures(device)
        made.note = f"mini was taken, since {why}."
    except SSegError:
        made = PixelFeatures()
        made.note = f"pixels was taken, since {why} and mini is not bundled."
    return made
