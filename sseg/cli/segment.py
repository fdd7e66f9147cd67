"""`sseg segment`: find phrases in images."""

import json
from pathlib import Path

from sseg.cli import labelling
from sseg.cli.output import Batch, images_of, make_folder, sizes, unused, write
from sseg.errors import SSegError


def add(commands) -> None:
    """Add the command to the parser."""
    segment = commands.add_parser("segment", help="find phrases in pictures")
    segment.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER", help="image file, or folder of them")
    segment.add_argument("--phrases", help='what to find: "a dog, grass, person|man|woman"')
    segment.add_argument(
        "--suggest",
        action="store_true",
        help="instead of --phrases: what the weights find in each image, of all that they know",
    )
    segment.add_argument(
        "--weights",
        help="bundled name, folder, or owner/name@revision of the Hub (default: photos if bundled, else mini)",
    )
    segment.add_argument(
        "--background", type=float, metavar="S", help="lowest score that counts, 0..1 (default: the weights' own)"
    )
    segment.add_argument("--sliding", action="store_true", help="look closer, through overlapping windows; slower")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    segment.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write NAME.ids.png, NAME.overlay.png and NAME.json; with --format a data set",
    )
    segment.add_argument(
        "--format",
        metavar="F",
        help="label the images into a data set in --out: coco, yolo, or png "
        "(masks of ids); a second run goes on where the first one ended",
    )
    segment.add_argument(
        "--instances",
        metavar="I",
        help="what an annotation of --format coco is: phrases (one a "
        "phrase and image, the default), or parts (each connected part)",
    )
    segment.add_argument("--json", action="store_true", help="one JSON object an image, each on a line of its own")
    segment.set_defaults(run=run)


def run(options) -> int:
    from sseg import images
    from sseg.loading import load

    if bool(options.phrases) == options.suggest:
        raise SSegError('Say what to look for, either --phrases "dog, grass" or --suggest for what the weights find.')
    labelling.check(options)
    paths = images_of(options.images)
    if options.out:
        make_folder(options.out)
    segmenter = load(options.weights, options.device)

    def segmented(path):
        rgb, full = images.read_sized(path)
        encoded = segmenter.encode(rgb, sliding=options.sliding)
        return rgb, full, segmenter.ask(encoded, options.phrases, options.background)

    def suggested(path):
        rgb, full = images.read_sized(path)
        encoded = segmenter.encode(rgb, sliding=options.sliding)
        found = segmenter.suggest(encoded)
        if not found:
            raise SSegError(f'The weights find nothing that they know in "{Path(path).name}": name it with --phrases.')
        answer = segmenter.ask(encoded, [one["phrase"] for one in found], options.background)
        return rgb, full, answer, {"suggested": True, "suggestions": found}

    if options.format:
        return labelling.run(options, paths, segmenter, segmented)
    batch, used = Batch(paths), set()
    for path, (rgb, full, result, *more) in batch.each(suggested if options.suggest else segmented):
        report = {"image": path, "full_size": list(full), **result.to_json(), **(more[0] if more else {})}
        if options.out:
            write(options.out, unused(Path(path).stem, used), rgb, result, report)
        print(json.dumps(report) if options.json else _table(report), flush=True)
    return 2 if batch.failed else 0


def _table(report: dict) -> str:
    lines = [f"{report['image']}  {sizes(report)}"]
    if "suggested" in report:
        lines.append("  suggested by the weights: " + ", ".join(row["phrase"] for row in report["phrases"]))
    for row in report["phrases"]:
        score = f"{row['mean_score']:.2f}" if row["area"] else "   -"
        note = "" if row["known"] else "  (the weights have not seen this word)"
        winner = f"  [{row['winner']}]" if row["winner"] != row["phrase"] else ""
        lines.append(f"  {100 * row['area']:5.1f} %  {score}  {row['phrase']}{winner}{note}")
    lines.append(f"  {100 * report['background_area']:5.1f} %        background")
    return "\n".join(lines)
