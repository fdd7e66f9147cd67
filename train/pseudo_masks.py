"""Pseudo-masks of whole pictures, made once for a folder of image-text tars.

    python -m train.pseudo_masks pairs pairs-pixels --features pixels --k 8
    python -m train.pretrain train/recipes/pairs.yaml data.root=pairs pseudo_masks.stored=pairs-pixels
    for i in 1 2 3 4; do python -m train.pseudo_masks ... --shard $i/4 & done; wait   # four share the work

ROOT/NAME.tar gives OUT/NAME.tar, which holds KEY.png for each picture that can be read: cluster ids, 8 bits a cell,
with a palette to look at. A shard appears when it is complete; after a kill, the same command goes on with the shards
that are not there yet. OUT/meta.json says how the masks were made, and a folder never mixes two ways.
"""

import argparse
import io
import json
import re
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image

from sseg import images
from sseg.errors import SSegError
from sseg.stopping import stoppable
from train.data.tars import data_path, tars_of
from train.data.whole_masks import BATCH, FACET, META, Settings, WholeMasks, differences, read_meta
from train.files import write_whole
from train.provenance import commit, versions
from train.recipe.pretraining import PseudoMasks


def write(root, out, settings: Settings, device="cpu", batch: int = BATCH, share: tuple[int, int] = (1, 1)) -> dict:
    """Write the shards that are not there yet.

    Args:
        root, out: folders of tars and of masks; relative ones lie under $SSEG_DATA, else under data/.
        share: (i, n): only every n-th shard, from the i-th of 1..n on.
    Returns:
        Counts of what this call did: shards, pictures, damaged ones, samples without_picture; and seconds.
    Raises:
        SSegError: no tars, unknown features, or `out` holds something else.
    """
    root, out, start = data_path(root), data_path(out), time.monotonic()
    tars, make = tars_of(root)[share[0] - 1 :: share[1]], WholeMasks(settings, device, batch)
    meta = claim(out, make, share)
    if make.source.note:
        print(make.source.note, file=sys.stderr)
    if other := differences(meta["made_by"], made_by(make.device)):
        print(f"{out} was begun with {other}: what follows may differ in the last digits", file=sys.stderr)
    todo = [tar for tar in tars if not (out / tar.name).exists()]
    if len(todo) < len(tars):
        print(f"{len(tars) - len(todo)} of {len(tars)} shards are already in {out}", file=sys.stderr)
    pictures = 0
    for tar, masks in zip(todo, make(todo), strict=True):
        claim(out, make, share)  # another process may have begun otherwise at the same moment
        write_shard(out / tar.name, masks, settings.k, share)
        pictures += len(masks)
    counts = {"shards": len(todo), "pictures": pictures, "damaged": make.damaged}
    return counts | {"without_picture": make.missing, "seconds": round(time.monotonic() - start, 1)}


def claim(out: Path, make: WholeMasks, share: tuple[int, int]) -> dict:
    """Write meta.json, or check that the folder's own has the same settings; returns it."""
    meta = read_meta(out)
    if meta is None and any(out.glob("*.tar")):
        raise SSegError(f"{out} holds tars that are no pseudo-masks ({META} is missing): choose another folder.")
    if meta is None:
        meta = make.settings.described() | {"made_by": made_by(make.device)}
        write_whole(out / META, json.dumps(meta, indent=2) + "\n", writer_of(share))
    elif other := differences(meta, make.settings.described()):
        raise SSegError(f"{out} holds other pseudo-masks, they have {other}: choose another folder.")
    return meta


def made_by(device: torch.device) -> dict:
    """Commit, kind of device and versions that decide the last digits."""
    packages = versions() | {"pillow": PIL.__version__}
    return {"commit": commit(), "device": device.type, "versions": packages}


def writer_of(share: tuple[int, int]) -> str:
    """A name for the process of a share: what a kill of it leaves behind is overwritten by its next try."""
    return f"{share[0]}-of-{share[1]}"


def write_shard(path: Path, masks: dict[str, np.ndarray], k: int, share: tuple[int, int] = (1, 1)) -> None:
    """A tar of KEY.png; the same masks always give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for key, ids in masks.items():
            data = encode(ids, k)
            member = tarfile.TarInfo(f"{key}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_whole(path, buffer.getvalue(), writer_of(share))


def encode(ids: np.ndarray, k: int) -> bytes:
    """Ids (h, w) uint8 as a PNG of the same size."""
    image = Image.fromarray(ids)
    image.putpalette(images.colors(k).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=8)
    return buffer.getvalue()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train.pseudo_masks", description=__doc__.split("\n")[0])
    parser.add_argument("root", help="folder of tars, under $SSEG_DATA if relative")
    parser.add_argument("out", help="folder of pseudo-masks, under $SSEG_DATA if relative")
    parser.add_argument("--features", required=True, metavar="NAME", help="feature source")
    parser.add_argument("--facet", default=FACET, help=f"kind of the source's features ({FACET})")
    parser.add_argument("--k", type=natural, default=8, help="clusters a picture (8)")
    parser.add_argument(
        "--resolution",
        type=natural,
        default=PseudoMasks.resolution,
        metavar="N",
        help="side in pixels of a square picture that is cut into 8 x 8 cells; others get as many cells (448)",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch", type=natural, default=BATCH, metavar="N", help=f"pictures together ({BATCH})")
    parser.add_argument("--shard", type=share, default=(1, 1), metavar="i/n", help="the i-th of n shares, 1/n to n/n")
    return parser.parse_args(arguments)


def device(text: str) -> torch.device:
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    if text != "cpu" and not (re.fullmatch(r"cuda(:\d+)?", text) and torch.cuda.is_available()):
        raise argparse.ArgumentTypeError(f"there is no device {text} here: take auto or cpu")
    return torch.device(text)


def natural(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def share(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text} is not a share: with three processes, give them 1/3, 2/3 and 3/3")
    return int(found[1]), int(found[2])


@stoppable("Stopped; what was written is kept.")
def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    settings = Settings(options.features, options.k, options.resolution, options.facet)
    try:
        counts = write(options.root, options.out, settings, options.device, options.batch, options.shard)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
