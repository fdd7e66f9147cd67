"""Feature sources: what K-Means sees of a picture. Every source gives one vector a cell of any grid."""

from sseg.errors import SSegError
from sseg.features.base import FeatureSource, cell_means, positions
from sseg.features.pixels import PixelFeatures

__all__ = ["FeatureSource", "cell_means", "positions", "source"]

_SOURCES = {"pixels": PixelFeatures}


def source(name: str, facet: str | None = None, device="cpu") -> FeatureSource:
    """The feature source of that name.

    Args:
        name: "pixels".
        facet: one of the source's `facets`; None is its first.
        device: where a source with a network runs.
    Raises:
        SSegError: there is no such source, or it has no such facet.
    """
    if name not in _SOURCES:
        raise SSegError(f"There is no feature source {name!r}: choose one of {', '.join(sorted(_SOURCES))}.")
    made = _SOURCES[name]()
    if facet not in (None, *made.facets):
        raise SSegError(f"The features {name!r} have no facet {facet!r}: choose one of {', '.join(made.facets)}.")
    return made
