"""The report from result files: only whole runs fill the paper's table, every cell leads to its file."""

import json

import pytest

from train import report

RUN = {
    "benchmark": "voc",
    "model": "runs/paper",
    "protocol": "paper",
    "names": "plain",
    "images": 1449,
    "reported_images": 1449,
    "miou": 51.25,
    "pixel_accuracy": 80.0,
    "seconds_per_image": 0.1,
    "commit": "abc",
    "hardware": "GPU",
    "background": 0.3,
    "threshold": "given",
    "partial": False,
    "random_weights": False,
}


def write(folder, **runs):
    folder.mkdir(parents=True, exist_ok=True)
    for name, changes in runs.items():
        (folder / f"{name}.json").write_text(json.dumps(RUN | changes))


def made(tmp_path, capsys):
    arguments = [
        "--results",
        str(tmp_path / "results"),
        "--out",
        str(tmp_path / "table.md"),
        "--png",
        str(tmp_path / "images" / "table.png"),
    ]
    code = report.main(arguments)
    return code, capsys.readouterr()


def test_a_whole_run_fills_its_cell_with_a_link(tmp_path, capsys):
    write(tmp_path / "results", whole={}, worse={"miou": 40.0})
    code, said = made(tmp_path, capsys)
    text = (tmp_path / "table.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| PASCAL VOC (21)")]
    assert code == 0 and json.loads(said.out)["filled"] == 1
    assert row.endswith("| 53.2 | 62.0 | [51.25](results/whole.json) |")
    assert "| PASCAL Context (60) |" in text and text.count("not measured") == 2
    assert (tmp_path / "images" / "table.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "changes",
    [
        {"partial": True},
        {"random_weights": True},
        {"reported_images": 724},
        {"protocol": "groupvit"},
        {"model": "clip:openai/clip"},
        {"benchmark": "voc-mini"},
    ],
)
def test_other_runs_do_not_fill_it_but_are_listed(tmp_path, capsys, changes):
    write(tmp_path / "results", run=changes)
    code, said = made(tmp_path, capsys)
    text = (tmp_path / "table.md").read_text()
    assert code == 0 and json.loads(said.out)["filled"] == 0
    assert text.count("not measured") == 3 and text.count("(results/run.json)") == 1


def test_no_results_and_foreign_files_are_one_sentence(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    code, said = made(tmp_path, capsys)
    assert code == 2 and "no results" in said.err
    (tmp_path / "results" / "other.json").write_text('{"a": 1}')
    code, said = made(tmp_path, capsys)
    assert code == 2 and "other.json is no result" in said.err and len(said.err.strip().splitlines()) == 1
