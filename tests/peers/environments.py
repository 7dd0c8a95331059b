"""Which libraries of poz/peers an environment of tests/trainers/NAME.txt or tests/peers/NAME.txt is there to judge.

python tests/peers/environments.py          names those that judge any
python tests/peers/environments.py NAME     prints `--library ...` for `poz audit` in that one

An environment is named after the library: verl, swift (ms-swift), trl_1_14. One with the version that is installed here adds
nothing, and is left out.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from poz.peers import Library, libraries

TESTS = Path(__file__).resolve().parents[1]


def pinned(file: Path) -> dict[str, str]:
    """Versions by package."""
    lines = (line.partition("#")[0].partition("==") for line in file.read_text(encoding="utf-8").splitlines())
    return {package.strip().replace("_", "-").lower(): number.strip() for package, _, number in lines if number}


def judged(file: Path) -> list[Library]:
    """The libraries that the environment is named after, where it pins them at another version than the one here."""
    packages = pinned(file)
    named = (one for one in libraries().values() if file.stem.partition("_")[0] in one.package.lower().split("-"))
    return [one for one in named if packages.get(one.package.lower(), installed(one)) != installed(one)]


def installed(library: Library) -> str:
    """The version in this environment, "" where there is none."""
    try:
        return version(library.package)
    except PackageNotFoundError:
        return ""


def environments() -> dict[str, Path]:
    """Every file that pins an environment, by its name."""
    return {file.stem: file for folder in ("trainers", "peers") for file in sorted((TESTS / folder).glob("*.txt"))}


def flags(name: str) -> str:
    """For `poz audit` in that environment; "" where it judges nothing."""
    return " ".join(f"--library {one.name}" for one in judged(environments()[name]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(flags(sys.argv[1]))
    else:
        print(*filter(flags, environments()), sep="\n")
