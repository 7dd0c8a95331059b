"""Imports every name of public_names.txt from an installed poz, and prints those that are not there.

python -P tests/public_names.py FOLDER      of what was installed into FOLDER, outside any checkout
"""

import importlib
import sys
from pathlib import Path


def resolve(name: str) -> object:
    """The module, or what is in it."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        return found
    raise ImportError(f"no module begins {name}")


def main(folder: Path) -> int:
    sys.path.insert(0, str(folder))
    import poz

    if not Path(poz.__file__).is_relative_to(folder):
        sys.exit(f"poz was imported from {poz.__file__}, not from {folder}.")
    missing = 0
    for name in Path(__file__).with_name("public_names.txt").read_text().split():
        try:
            resolve(name)
        except Exception as error:  # whatever it is, the name is not there
            print(f"{name}: {error}")
            missing += 1
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
