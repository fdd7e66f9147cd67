"""The packages of the wheel: all of `sseg`, and the folder `assets` inside it. The rest stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["sseg", "sseg.*"]), "sseg._assets"],
    package_dir={"sseg._assets": "assets"},
)
