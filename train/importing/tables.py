"""Tables of image names and captions: CSV, TSV, JSONL (also metadata.jsonl), parquet (also with the images inside),
and Flickr's two captions files."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sseg.errors import SSegError
from train.importing.found import CAPTION_NAMES, IMAGE_NAMES, Found, Images, captions_of, decode

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
_TOKEN = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)")  # Flickr8k.token.txt


def read_table(path: Path, images: Images, image: str | None, caption: str | None, say=print) -> Iterator[Found]:
    """Samples of a table, rows of one image together. `image`, `caption`: columns, guessed and said where not given."""
    damage: list[Found] = []
    captions: dict[str, list[str]] = {}
    columns = None
    for row in _rows(path, damage):
        if columns is None:
            columns = image or guess(row, IMAGE_NAMES, path), caption or guess(row, CAPTION_NAMES, path)
            say(f"{path.name}: images from {columns[0]}, captions from {columns[1]}")
        value, texts = row.get(columns[0]), captions_of(row.get(columns[1]))
        if isinstance(value, dict) and value.get("bytes"):  # as `datasets` keeps images
            name = value.get("path") or f"{path.name}, another image"
            yield Found(name, lambda data=value["bytes"]: data, texts, None if texts else "no caption")
        elif name := value.get("path") if isinstance(value, dict) else value:
            captions.setdefault(str(name), []).extend(texts)
        else:
            damage.append(Found(f"{path.name}, a row", problem="no image name"))
    for name, texts in captions.items():
        yield images.found(name, list(dict.fromkeys(texts)))
    yield from damage


def guess(row: dict, names: tuple[str, ...], path: Path) -> str:
    """The column with the first of the usual names, in whatever case."""
    lower = {str(column).strip().lower(): column for column in row}
    for name in names:
        if name in lower:
            return lower[name]
    raise SSegError(f"{path.name} has the columns {', '.join(map(str, row))}: name yours with --image and --caption.")


def _rows(path: Path, damage: list[Found]) -> Iterator[dict]:
    try:
        if path.suffix.lower() == ".parquet":
            for batch in pa.parquet.ParquetFile(path).iter_batches(256):
                yield from batch.to_pylist()
            return
        text = decode(path.read_bytes())
        if path.suffix.lower() == ".jsonl":
            yield from _json_rows(path, text, damage)
        elif _TOKEN.match(text):
            for line in text.splitlines():
                if match := _TOKEN.fullmatch(line):
                    yield {"image": match["name"], "caption": match["caption"]}
                elif line.strip():
                    damage.append(Found(f"{path.name}: {line[:40]}", problem="a damaged row"))
        else:
            yield from _csv_rows(path, text, damage)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SSegError(f"{path} is damaged, or no table ({str(error).splitlines()[0]}): write it anew.") from error


def _json_rows(path: Path, text: str, damage: list[Found]) -> Iterator[dict]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield row
        else:
            damage.append(Found(f"{path.name}, line {number}", problem="a damaged row"))


def _csv_rows(path: Path, text: str, damage: list[Found]) -> Iterator[dict]:
    def left_out(row) -> str:
        damage.append(Found(f"{path.name}: {row.text[:40]}", problem="a damaged row"))
        return "skip"

    tabs = path.suffix.lower() == ".tsv" or "\t" in text.split("\n", 1)[0]
    parse = pa.csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True, invalid_row_handler=left_out)
    data = text.encode("utf-8")
    with pa.csv.open_csv(io.BytesIO(data), parse_options=parse) as opened:
        names = opened.schema.names
    damage.clear()  # rows that the look at the names has met are met again
    types = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))  # "22.05" is a name, no number
    yield from pa.csv.read_csv(io.BytesIO(data), parse_options=parse, convert_options=types).to_pylist()
