"""Twelve images in every usual form come out as the same pairs; what is damaged is named and never mixed."""

import io
import json
import random
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from tests.helpers.tars import write_tar
from train.data.tars import TarPairs, list_samples
from train.import_pairs import main


def photo(number: int, kind: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(number).integers(0, 256, (8, 9, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((72, 64)).save(buffer, kind)
    return buffer.getvalue()


NAMES = [f"a.{n:02d}.jpg" for n in range(12)]  # with a dot in the key
PAIRS = {name: [f'thing {n}, "said" of it', f"second {n} é"] for n, name in enumerate(NAMES)}
PHOTOS = {name: photo(n) for n, name in enumerate(NAMES)}


def images_into(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in PHOTOS.items():
        (folder / name).write_bytes(data)


def members(kind):
    found = dict(PHOTOS)
    for name, captions in PAIRS.items():
        text = json.dumps({"captions": captions}) if kind == "json" else "\n".join(captions)
        found[f"{name[:-4]}.{kind}"] = text.encode()
    return found


def sidecars(folder, kind="txt"):
    for name, data in members(kind).items():
        (folder / name).write_bytes(data)
    return folder


def json_sidecars(folder):
    return sidecars(folder, "json")


def rows():
    return [(name, caption) for name, captions in PAIRS.items() for caption in captions]


def csv(folder, name="list.csv", header="Filename,Caption", sep=","):
    images_into(folder / "images")
    quoted = ['"' + text.replace('"', '""') + '"' for _, text in rows()]
    lines = [f"{image}{sep}{text}" for (image, _), text in zip(rows(), quoted, strict=True)]
    (folder / name).write_text("\n".join([header, *lines]), encoding="utf-8")
    return folder


def tsv_utf16(folder):
    csv(folder, "list.tsv", "image\tcaption", "\t")
    (folder / "list.tsv").write_text((folder / "list.tsv").read_text(encoding="utf-8"), encoding="utf-16")
    return folder


def flickr(folder):
    return csv(folder, "captions.txt", "image,caption")


def flickr_token(folder):
    images_into(folder)
    (folder / "F.token.txt").write_text("\n".join(f"{name}#0\t{text}" for name, text in rows()), encoding="utf-8")
    return folder


def imagefolder(folder):
    images_into(folder)
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in PAIRS.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def parquet(folder):
    images_into(folder)
    table = pa.table({"image": list(PAIRS), "captions": list(PAIRS.values())})
    pa.parquet.write_table(table, folder / "list.parquet")
    return folder / "list.parquet"


def datasets_parquet(folder):
    inside = [{"bytes": data, "path": name} for name, data in PHOTOS.items()]
    pa.parquet.write_table(pa.table({"image": inside, "text": list(PAIRS.values())}), folder / "train-0.parquet")
    return folder


def coco(folder):
    images_into(folder / "train2017")
    entries = [{"id": n, "file_name": name} for n, name in enumerate(NAMES)]
    said = [{"id": i, "image_id": NAMES.index(name), "caption": text} for i, (name, text) in enumerate(rows())]
    listed = json.dumps({"images": entries, "annotations": said})
    (folder / "captions_train2017.json").write_text(listed, encoding="utf-8")
    return folder


def tar(folder):
    return write_tar(folder / "some.tar", members("txt"))


def tar_gz(folder):
    with tarfile.open(folder / "some.tar.gz", "w:gz") as packed:
        for name, data in members("json").items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return folder


def imported(source, out, capsys, *options):
    assert main([str(source), str(out), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def tar_in_upper_case(folder):
    return write_tar(folder / "SOME.TAR", members("txt"))


FORMS = [sidecars, json_sidecars, csv, tsv_utf16, flickr, flickr_token, imagefolder, parquet, datasets_parquet, coco,
         tar, tar_gz, tar_in_upper_case]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pairs(form, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    report = imported(form(tmp_path / "in"), tmp_path / "out", capsys)
    assert report == {"images": 12, "captions": 24, "left_out": {}, "near": []}
    samples, incomplete = list_samples(tmp_path / "out", "*")
    found = {}
    for sample in samples:
        with sample.tar.open("rb") as file:
            file.seek(sample.offset)
            found[file.read(sample.size)] = sample.captions
    assert not incomplete and found == {PHOTOS[name]: captions for name, captions in PAIRS.items()}
    assert len(TarPairs(tmp_path / "out", 0, "cpu", 16)) == 12


def test_damage_is_named_and_never_mixed(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    files = {"22.05.JPG": photo(1), "22.05.TXT": b"\xef\xbb\xbfa red square", "two.jpg": photo(2), "two.png": photo(3)}
    files |= {"two.txt": b"two images", "number.jpg": photo(4), "number.json": b'{"captions": 7}', "wide.webp": b"no"}
    files |= {"wide.txt": b"broken", "noise.jpg": photo(5), "noise.txt": "a cat".encode("utf-16-le")}
    files |= {"._22.05.JPG": b"Mac", "text.jpg": photo(6), "text.json": b'{"captions": "a blue square"}'}
    files |= {"alone.jpg": photo(7), "said.txt": b"no image", "again.jpg": photo(6), "again.txt": b"the same"}
    files |= {"shape.bmp": photo(8, "BMP"), "shape.txt": "a shape".encode("utf-16")}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    report = imported(folder, tmp_path / "out", capsys)
    assert {reason: sorted(names) for reason, names in report["left_out"].items()} == {
        "several images for one key": ["two"],
        "no caption": ["alone", "number"],
        "no image": ["said"],
        "an image that cannot be read": ["wide"],
        "captions that cannot be read": ["noise"],
    }
    captions = sorted(text for sample in list_samples(tmp_path / "out", "*")[0] for text in sample.captions)
    assert captions == ["a blue square", "a red square", "a shape", "the same"]
    assert report["near"] == [["text", "again"]]


def test_random_bytes_in_a_tar_lose_only_what_they_cover(tmp_path, capsys):
    path = write_tar(tmp_path / "some.tar", members("txt"))
    with tarfile.open(path) as opened:
        start = opened.getmember(NAMES[3]).offset
    data = bytearray(path.read_bytes())
    data[start : start + 1000] = random.Random(0).randbytes(1000)
    path.write_bytes(data)
    report = imported(path, tmp_path / "out", capsys)
    assert report["images"] == 11
    assert [len(names) for names in report["left_out"].values()] == [1, 1]
    assert report["left_out"]["no image"] == ["a.03"] and "a damaged stretch of a tar" in report["left_out"]


def test_a_name_twice_in_a_tar_is_left_out(tmp_path, capsys):
    with tarfile.open(tmp_path / "some.tar", "w") as made:
        for name, data in [("a.jpg", photo(1)), ("a.txt", b"one"), ("a.jpg", photo(2)), ("b.jpg", photo(3)),
                           ("b.txt", b"two")]:  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    report = imported(tmp_path / "some.tar", tmp_path / "out", capsys)
    assert report["images"] == 1 and report["left_out"] == {"a name twice": ["a"]}


def test_what_cannot_be_imported_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "There is no" in said and "has the columns a, b: name yours with --image" in said
    assert not list((tmp_path / "out").glob("*.tar"))
