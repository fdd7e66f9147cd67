"""The command line: python -m sseg segment | info."""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image

from sseg.errors import SSegError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 after a one-sentence error on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sseg", description="Segment pictures by words.")
    commands = parser.add_subparsers(required=True, metavar="command")

    segment = commands.add_parser("segment", help="find phrases in pictures")
    segment.add_argument("images", nargs="+", metavar="IMAGE", help="picture file")
    segment.add_argument("--phrases", required=True, help='what to find: "a dog, grass, person|man|woman"')
    segment.add_argument("--weights", default="mini", help="bundled name, folder, or owner/name@revision of the Hub")
    segment.add_argument("--background", type=float, default=0.15, metavar="S", help="lowest score that counts, 0..1")
    segment.add_argument("--sliding", action="store_true", help="look closer, through overlapping windows; slower")
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda ...")
    segment.add_argument("--out", type=Path, metavar="DIR", help="write NAME.ids.png, NAME.overlay.png and NAME.json")
    segment.add_argument("--json", action="store_true", help="one JSON object a picture, each on a line of its own")
    segment.set_defaults(run=_segment)

    info = commands.add_parser("info", help="what weights are")
    info.add_argument("weights", metavar="WEIGHTS", nargs="?", default="mini")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(run=_info)
    return parser


def _segment(options) -> int:
    from sseg import images
    from sseg.segmenter import load

    if options.out:
        _make_folder(options.out)
    segmenter = load(options.weights, options.device)
    failed, used = 0, set()
    for path in options.images:
        try:
            rgb = images.read(path)
            result = segmenter.ask(segmenter.encode(rgb, options.sliding), options.phrases, options.background)
        except SSegError as error:  # the other pictures are still worth having
            if len(options.images) == 1:
                raise
            print(error, file=sys.stderr)
            failed += 1
            continue
        report = {"image": path, **result.to_json()}
        if options.out:
            _write(options.out, _unused(Path(path).stem, used), rgb, result, report)
        print(json.dumps(report) if options.json else _table(report), flush=True)
    return 2 if failed else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SSegError(f'The folder "{folder}" cannot be made ({error.strerror}): choose another one.') from error


def _unused(stem: str, used: set[str]) -> str:
    """dog, dog-2, dog-3: pictures of the same name in other folders do not overwrite one another."""
    name, count = stem, 1
    while name in used:
        count += 1
        name = f"{stem}-{count}"
    used.add(name)
    return name


def _write(folder: Path, name: str, rgb, result, report: dict) -> None:
    try:
        (folder / f"{name}.ids.png").write_bytes(result.id_png())
        Image.fromarray(result.overlay(rgb)).save(folder / f"{name}.overlay.png")
        (folder / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise SSegError(f'The results cannot be written to "{folder}" ({error.strerror}).') from error


def _table(report: dict) -> str:
    height, width = report["size"]
    lines = [f"{report['image']}  {width} x {height}"]
    for row in report["phrases"]:
        score = f"{row['mean_score']:.2f}" if row["area"] else "   -"
        note = "" if row["known"] else "  (the weights have not seen this word)"
        winner = f"  [{row['winner']}]" if row["winner"] != row["phrase"] else ""
        lines.append(f"  {100 * row['area']:5.1f} %  {score}  {row['phrase']}{winner}{note}")
    lines.append(f"  {100 * report['background_area']:5.1f} %        background")
    return "\n".join(lines)


def _info(options) -> int:
    from sseg.segmenter import load

    info = load(options.weights, "cpu").info()
    if options.json:
        print(json.dumps(info))
    else:
        for key, value in info.items():
            print(f"{key.replace('_', ' '):<16} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
