"""The wheel, built from the files of this checkout, holds every public name; `public_names.txt` is the list of them."""

import shutil
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """The content of the wheel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in ("poz", "kernels", "reference", "bench"):
        shutil.copytree(root / part, folder / "tree" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / part, folder / "tree")
    build = [
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "-w",
        folder,
        folder / "tree",
    ]
    subprocess.run([sys.executable, "-m", "pip", *map(str, build)], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_public_name_is_in_the_wheel(installed, root):
    command = [sys.executable, "-P", "-W", "ignore", str(root / "tests/public_names.py"), str(installed)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


def test_a_name_that_is_not_there_is_said(installed, root, tmp_path):
    for part in ("public_names.py", "public_names.txt"):
        shutil.copy(root / "tests" / part, tmp_path)
    (tmp_path / "public_names.txt").write_text("poz.dpo\npoz.none_such\n")
    command = [sys.executable, "-P", str(tmp_path / "public_names.py"), str(installed)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stdout.startswith("poz.none_such: ")


def test_the_wheel_holds_every_module_of_the_checkout(installed, root):
    for package, folder in {
        "poz": "poz",
        "poz/kernels": "kernels",
        "poz/reference": "reference",
        "poz/bench": "bench",
    }.items():
        for path in (root / folder).rglob("*.py"):
            assert (installed / package / path.relative_to(root / folder)).exists(), path
