"""Where the data files that travel with the code lie."""

import os
from pathlib import Path

_HERE = Path(__file__).resolve().parent

# `pip install .` puts the folder inside the package; in a checkout it stands at the root of the repository.
ASSETS = _HERE / "_assets" if (_HERE / "_assets").is_dir() else _HERE.parent / "assets"
WEIGHTS = _HERE / "weights"  # bundled, a folder each


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies in a folder and fits the pattern, sorted; names with a dot in front are the system's (macOS's ._name)
    and passed over."""
    found = folder.glob(pattern)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def is_path(value) -> bool:
    """Whether a value is a path: a text, or a Path."""
    return isinstance(value, (str, os.PathLike))
