"""What a result was made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str] = ("numpy", "torch", "jax", "triton", "trl")) -> dict[str, str]:
    """Of Python, poz and these; "absent" where one is not installed."""
    from poz import __version__

    found = {"python": platform.python_version(), "poz": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def made_with(seed: int, found: Mapping[str, str]) -> str:
    """Both in a line, as a report and a picture have them."""
    return f"seed {seed}; {', '.join(f'{package} {number}' for package, number in found.items())}"
