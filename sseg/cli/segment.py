"""`sseg segment`: find phrases in images."""

import json
from pathlib import Path

from sseg.cli.output import Batch, make_folder, sizes, unused, write


def add(commands) -> None:
    """Add the command to the parser."""
    segment = commands.add_parser("segment", help="find phrases in pictures")
    segment.add_argument("images", nargs="+", metavar="IMAGE", help="picture file")
    segment.add_argument("--phrases", required=True, help='what to find: "a dog, grass, person|man|woman"')
    segment.add_argument("--weights", help="bundled name, folder, or owner/name@revision of the Hub (default: photos "
                         "if bundled, else mini)")
    segment.add_argument("--background", type=float, metavar="S", help="lowest score that counts, 0..1 (default: the "
                         "weights' own)")
    segment.add_argument("--sliding", action="store_true", help="look closer, through overlapping windows; slower")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    segment.add_argument("--out", type=Path, metavar="DIR", help="write NAME.ids.png, NAME.overlay.png and NAME.json")
    segment.add_argument("--json", action="store_true", help="one JSON object a picture, each on a line of its own")
    segment.set_defaults(run=run)


def run(options) -> int:
    from sseg import images
    from sseg.loading import load

    if options.out:
        make_folder(options.out)
    segmenter = load(options.weights, options.device)
    batch, used = Batch(options.images), set()

    def segmented(path):
        rgb, full = images.read_sized(path)
        encoded = segmenter.encode(rgb, sliding=options.sliding)
        return rgb, full, segmenter.ask(encoded, options.phrases, options.background)

    for path, (rgb, full, result) in batch.each(segmented):
        report = {"image": path, "full_size": list(full), **result.to_json()}
        if options.out:
            write(options.out, unused(Path(path).stem, used), rgb, result, report)
        print(json.dumps(report) if options.json else _table(report), flush=True)
    return 2 if batch.failed else 0


def _table(report: dict) -> str:
    lines = [f"{report['image']}  {sizes(report)}"]
    for row in report["phrases"]:
        score = f"{row['mean_score']:.2f}" if row["area"] else "   -"
        note = "" if row["known"] else "  (the weights have not seen this word)"
        winner = f"  [{row['winner']}]" if row["winner"] != row["phrase"] else ""
        lines.append(f"  {100 * row['area']:5.1f} %  {score}  {row['phrase']}{winner}{note}")
    lines.append(f"  {100 * report['background_area']:5.1f} %        background")
    return "\n".join(lines)
