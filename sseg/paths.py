"""Where the data files that travel with the code lie."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent

# `pip install .` puts the folder inside the package; in a checkout it stands at the root of the repository.
ASSETS = _HERE / "_assets" if (_HERE / "_assets").is_dir() else _HERE.parent / "assets"
WEIGHTS = _HERE / "weights"  # bundled, a folder each
