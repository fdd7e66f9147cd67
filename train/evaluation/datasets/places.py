"""Surroundings and furniture: MiniPlaces photographs with masks, in the layout of the folder benchmark.

    ROOT/images/NAME.jpg, masks/NAME.png (ids in the order of the names, 255 = does not count), classes.txt

`places-mini`: 240 photographs, 50 names from wall to railing. No background: every pixel that counts has a name.
"""

from train.evaluation.datasets.folder import FolderBenchmark
from train.evaluation.datasets.photographs import folder_of


def open_places(name: str = "places-mini", root=None, limit=None) -> FolderBenchmark:
    """The photographs in the order of their names. SSegError if the folder or a part of its layout is missing."""
    return FolderBenchmark(folder_of(name, name, root), limit, name)
