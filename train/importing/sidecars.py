"""KEY.jpg beside KEY.txt or KEY.json: samples of a folder, and of tars once their members are listed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from sseg.paths import visible
from train.importing.found import IMAGE_ENDINGS, Found, sidecar_captions

TEXTS = (".txt", ".json")
Member = tuple[str, Callable[[], bytes]]  # a name with folders, and what reads it


def folder(root: Path) -> Iterator[Found]:
    """Samples of a folder and those below it."""
    files = [path for path in visible(root, "**/*") if path.is_file()]
    return samples((path.relative_to(root).as_posix(), path.read_bytes) for path in files)


def samples(members: Iterable[Member]) -> Iterator[Found]:
    """Members grouped by their name without its last ending, so that dots may stand in keys."""
    groups: dict[str, list[Member]] = defaultdict(list)
    for name, read in members:
        path = PurePosixPath(name)
        if path.name.startswith("."):
            yield Found(name, problem="a hidden file of the system")
        elif path.suffix.lower() in (*IMAGE_ENDINGS, *TEXTS):
            groups[str(path.with_suffix(""))].append((name, read))
    for key, parts in groups.items():
        yield _sample(key, parts)


def _sample(key: str, parts: list[Member]) -> Found:
    names = [name for name, _ in parts]
    by_ending = {PurePosixPath(name).suffix.lower(): read for name, read in parts}
    images = [read for name, read in parts if PurePosixPath(name).suffix.lower() in IMAGE_ENDINGS]
    if len(set(names)) < len(names):
        return Found(key, problem="a name twice")
    if len(images) > 1:
        return Found(key, problem="several images for one key")
    if not images:
        return Found(key, problem="no image")
    if len(by_ending) < len(parts):
        return Found(key, problem="several captions files for one key")
    if len(by_ending) == 1:
        return Found(key, problem="no caption")
    try:
        json_data, text_data = (by_ending[end]() if end in by_ending else None for end in (".json", ".txt"))
        captions = sidecar_captions(json_data, text_data)
    except ValueError:
        return Found(key, problem="captions that cannot be read")
    return Found(key, images[0], captions, None if captions else "no caption")
