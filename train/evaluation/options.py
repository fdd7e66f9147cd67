"""What `python -m train.evaluate` can be told."""

import argparse
import sys

from sseg.pseudo_masks.masker import METHODS, OUTLINES
from train.evaluation.baselines import BASELINES
from train.evaluation.datasets.pointing import BLUR
from train.evaluation.protocols import PROTOCOLS
from train.evaluation.registry import BENCHMARKS, HALVES
from train.evaluation.runner import SWEEPS

SILHOUETTE, SWEEP = "silhouette", "sweep"


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description="Evaluate weights on a benchmark.")
    parser.add_argument("--benchmark", required=True, choices=BENCHMARKS)
    parser.add_argument("--root", help="folder of the data set (default: its own under $SSEG_DATA, or data/)")
    parser.add_argument("--model", metavar="W", help="bundled name, folder, or owner/name@revision")
    parser.add_argument("--phrases", choices=("all", "present"), default="all", help="what competes in a picture")
    parser.add_argument(
        "--background",
        type=threshold,
        default=SWEEP,
        help="score below which a pixel is "
        f"background, where a benchmark has one, or {SWEEP}: chosen on half of the pictures",
    )
    parser.add_argument("--target", help="ask for the categories of a target of self-training instead")
    parser.add_argument(
        "--names",
        choices=("plain", "tuned"),
        help="the class names of the benchmark, or as people "
        "name them (assets/vocabularies); default: plain, or what the protocol says",
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, help="rules of the literature (train/evaluation/protocols.py)")
    parser.add_argument(
        "--sweep",
        choices=SWEEPS,
        help="with a protocol: find the background threshold "
        "on the pictures of even number and report the others, or on the training split",
    )
    parser.add_argument("--sweep-limit", type=natural, metavar="N", help="training pictures for --sweep train")
    parser.add_argument(
        "--against",
        nargs="+",
        metavar="W",
        default=[],
        help=f"more models under the same protocol: weights, or {', '.join(f'{kind}:ID' for kind in BASELINES)}",
    )
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="baselines of their published size, untrained: for speed and memory",
    )
    parser.add_argument("--boundary", action="store_true", help="with a protocol: IoU near outlines, too")
    parser.add_argument("--workers", type=int, default=2, help="with a protocol: threads that decode ahead")
    parser.add_argument("--state", metavar="FILE", help="with a protocol: save counts here, and go on from them")
    parser.add_argument("--save-every", type=natural, default=100, metavar="N", help="pictures between saves")
    parser.add_argument("--out", metavar="FILE", help="the result as JSON, with a row for each class")
    parser.add_argument("--combine", choices=("soft", "hard"), help="instead of the weights' own choice")
    parser.add_argument("--size", type=side, metavar="N", help="long side for the model (default: its own)")
    parser.add_argument("--prepare", action="store_true", help="convert the official annotations first, where needed")
    parser.add_argument("--partial", action="store_true", help="score a part of a public set, if that is all there is")
    parser.add_argument("--limit", type=natural, metavar="N", help="only the first N pictures")
    parser.add_argument(
        "--half", choices=HALVES, help="only the pictures of even number, to choose on, or the others, to report on"
    )
    parser.add_argument(
        "--blur",
        type=share,
        default=BLUR,
        metavar="SHARE",
        help=f"of the pointing game: deviation of the Gaussian over a phrase's map, of its longer side ({BLUR:g})",
    )
    parser.add_argument("--seed-offset", type=int, default=0, metavar="N", help="other scenes of the same distribution")
    parser.add_argument("--oracle", action="store_true", help="judge the pseudo-masks instead of a model")
    parser.add_argument("--features", default="pixels", help="feature source of the pseudo-masks")
    parser.add_argument("--facet", help="kind of the source's features (default: its first)")
    parser.add_argument("--k", type=clusters, default=8, help=f"clusters a picture, or {SILHOUETTE}: chosen for each")
    parser.add_argument("--method", choices=METHODS, default="kmeans", help="how cells are clustered")
    parser.add_argument("--outlines", choices=OUTLINES, default="cells", help="what those of clusters follow")
    parser.add_argument(
        "--clusterings",
        type=natural,
        default=1,
        metavar="N",
        help="of each picture, by other seeds: figures of all of them together move less by chance",
    )
    parser.add_argument(
        "--resolution",
        type=natural,
        default=448,
        help="side in pixels of a square picture that is "
        "cut into 8 x 8 cells for the pseudo-masks; others get as many cells",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--json-only", action="store_true", help="leave out the table")
    options = parser.parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    if options.against and not (options.protocol and options.model):
        parser.error("--against needs --protocol and --model")
    if options.half and options.protocol:
        parser.error("--half is for runs without --protocol")
    if not (options.oracle or options.model or options.prepare):
        parser.error("give --model W, --oracle or --prepare")
    return options


def natural(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def threshold(text):
    return text if text == SWEEP else share(text)


def share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return value


def clusters(text):
    return text if text == SILHOUETTE else natural(text)


def side(text):
    value = int(text)
    if value < 64:
        raise argparse.ArgumentTypeError(f"{value} is not at least 64 pixels, two cells of the coarsest map")
    return value
