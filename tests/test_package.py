"""The package as others get it: its names, what its import costs, and a wheel with weights and assets inside."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement

import sseg
from tests.conftest import ROOT

SHIPPED = ("sseg", "assets")
LEFT_BEHIND = ("__pycache__", "*.pyc", "*.pyi")  # made by Python and by gradio when modules are imported
HEAVY = ("torch", "torchvision", "transformers", "timm", "gradio", "matplotlib", "scipy", "numpy", "train")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel; built from a copy, so that no old build folder can put stale files into it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel's content, as `pip install --target` leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def requirements(name):
    """Package -> requirement of the lines of a requirements file (names in lower case, one spelling)."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {requirement.name.lower().replace("-", "_"): requirement for requirement in found}


def project_dependencies():
    """What pyproject.toml asks for to use the library and the page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["app"]]))


def test_public_names():
    from sseg import (  # noqa: F401  as people write it
        Comparison,
        FixedVocabularySegmenter,
        OpenVocabularySegmenter,
        PseudoMasker,
        images,
    )

    assert set(sseg.__all__) == set(dir(sseg)) and all(hasattr(sseg, name) for name in sseg.__all__)
    assert issubclass(sseg.SSegError, Exception)
    assert callable(sseg.load) and {"Segmenter", "Segmentation", "load"} <= set(dir(sseg))
    assert (sseg.Segmenter.__module__, sseg.Segmentation.__module__) == ("sseg.segmenter", "sseg.segmentation")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        sseg.lode  # noqa: B018


def heavy_after(code, run_python):
    """Those of the slow libraries that a fresh interpreter has imported after running the code."""
    return run_python(f"import sys\n{code}\nprint(sorted(set({HEAVY}) & set(sys.modules)))").splitlines()[-1]


def test_import_is_light(run_python):
    assert heavy_after("import sseg", run_python) == "[]"
    assert heavy_after("from sseg import SSegError, errors", run_python) == "[]"


COMMANDS = ("segment", "pseudo-masks", "compare", "info", "app")


@pytest.mark.parametrize("arguments", ["--help", *(f"{name} --help" for name in COMMANDS), "no-such-command"])
def test_the_command_line_is_light_until_it_runs_a_command(arguments, run_python):
    code = (
        "from sseg.__main__ import main\n"
        "try:\n"
        f"    main({arguments.split()})\n"
        "except SystemExit as end:\n"
        f"    assert end.code == {2 if arguments == 'no-such-command' else 0}"
    )
    assert heavy_after(code, run_python) == "[]"


def test_loading_weights_needs_no_app_and_no_training_code(run_python, tiny_weights):
    out = run_python(
        f"import sys, sseg; sseg.load({str(tiny_weights)!r}, device='cpu')\n"
        "print([m for m in ('gradio', 'train') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_without_gradio_the_page_says_what_to_install(run_python):
    out = run_python(
        "import importlib.util, sys\n"
        "there = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'gradio' else there(name, *rest)\n"
        "sys.stderr = sys.stdout\n"
        "from sseg.__main__ import main\n"
        "print(main(['app']))"
    )
    assert out.splitlines() == ['The page needs gradio, which is not installed: pip install "sseg[app]".', "2"]


def test_wheel_holds_every_file_of_the_checkout(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [p.relative_to(ROOT) for folder in SHIPPED for p in (ROOT / folder).rglob("*") if p.is_file()]
    wanted = {p.as_posix() for p in files if p.suffix not in (".pyc", ".pyi")}
    wanted = {re.sub("^assets/", "sseg/_assets/", name) for name in wanted}
    assert "sseg/_assets/stickers.json" in wanted
    assert not wanted - inside, "missing in the wheel: name the package or the file type in pyproject.toml"
    assert {name.split("/")[0].split("-")[0] for name in inside} == {"sseg"}  # training is run from a checkout
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_installed_package_finds_its_assets_and_weights(installed, run_python):
    out = run_python(
        "import json, sseg, sseg.paths\n"
        "things = json.loads((sseg.paths.ASSETS / 'stickers.json').read_text())['things']\n"
        "print(sseg.__file__, sseg.paths.ASSETS, len(things) >= 600, sseg.load('mini').device)",
        path=installed,
    )
    file, assets, enough, _ = out.split()
    assert file == str(installed / "sseg" / "__init__.py")
    assert assets == str(installed / "sseg" / "_assets")
    assert enough == "True"


def test_version_stands_in_one_piece(wheel):
    assert wheel.name.startswith(f"sseg-{sseg.__version__}-")


def test_tested_versions_are_allowed_versions():
    tested, wide = requirements("requirements.txt"), project_dependencies()
    assert {r.name for r in wide} == {r.name for r in tested.values()}
    for requirement in wide:
        pinned = next(iter(tested[requirement.name.replace("-", "_")].specifier))
        assert pinned.operator == "==" and requirement.specifier.contains(pinned.version), requirement.name


def test_no_pickle_is_ever_read():
    for folder in ("sseg", "train"):
        for path in (ROOT / folder).rglob("*.py"):
            code = path.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(import|from) (pickle|dill|joblib|cloudpickle)\b", code, re.M), path
            loads = re.findall(r"torch\.load\(.*?\)", code, re.S)
            assert all("weights_only=True" in call for call in loads), path
            assert "allow_pickle=True" not in code, path


def test_a_commit_is_checked_by_the_tested_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tested = str(requirements("requirements-dev.txt")["ruff"].specifier)
    assert [hook["rev"] for hook in hooks] == [tested.replace("==", "v")]


def test_files_for_people_and_their_programs_are_well_formed():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and "version" not in citation
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2401.12217"
    forms = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]
    assert len(forms) == 2 and all({"name", "description", "body"} <= form.keys() for form in forms)


def test_make_help_names_every_target():
    command = ["make", "-s", "--no-print-directory", "help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert [line.split()[1] for line in said.splitlines()] == [name for name in targets if name != "system"]
