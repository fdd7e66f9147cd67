"""PASCAL VOC 2012 segmentation, in its official layout.

    ROOT/VOC2012/JPEGImages/NAME.jpg, SegmentationClass/NAME.png, ImageSets/Segmentation/val.txt

`voc-mini`: a part of the 1,449 validation photographs, those with a cat, cow, dog, horse or sheep; its figures do not
compare with those of the whole set. Background is a class, as everywhere in the literature on text supervision.
"""

from sseg.errors import SSegError
from train.benchmarks.photographs import PhotographBenchmark, folder_of

CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow dining_table dog horse motorbike person "
    "potted_plant sheep sofa train tv_monitor"
)
CLASSES = [name.replace("_", " ") for name in CLASSES.split()]
MAIN = ("background", "cat", "cow", "dog", "horse", "person", "sheep")  # enough photographs in voc-mini
BORDER = 255


def open_voc(name: str = "voc-mini", root=None, limit=None) -> PhotographBenchmark:
    """The photographs of val.txt. SSegError if the root or the list is missing."""
    folder = folder_of(name, name, root) / "VOC2012"
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    if not listing.is_file():
        raise SSegError(f"{listing} is missing: --root must hold VOC2012 in its official layout.")
    names = listing.read_text().split()
    pairs = [(folder / "JPEGImages" / f"{n}.jpg", folder / "SegmentationClass" / f"{n}.png") for n in names]
    groups = {"main": [CLASSES.index(one) for one in MAIN]}
    return PhotographBenchmark(name, pairs, CLASSES, list(range(len(CLASSES))), [BORDER], groups, limit)
