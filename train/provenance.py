"""What made a number or a weight: commit, versions, hardware. Recorded with every run and every result."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "transformers", "tokenizers", "timm", "numpy")


def commit() -> str:
    """Short commit of the working tree, '+' when it has uncommitted changes, 'unknown' outside a repository."""
    root = Path(__file__).resolve().parents[1]

    def git(*args):
        return subprocess.run(["git", "-C", root, *args], capture_output=True, text=True)

    head = git("rev-parse", "--short", "HEAD")
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+" if git("status", "--porcelain", "--untracked-files=no").stdout.strip() else "")


def hardware(device: str | torch.device = "cpu") -> str:
    """The device in words: the GPU's name, or the processor and the threads in use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    for line in listing.read_text(encoding="utf-8", errors="replace").splitlines() if listing.exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
