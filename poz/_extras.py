"""What to install where a part of poz finds its library missing."""

from __future__ import annotations

import importlib
import importlib.util

HAS_TRITON = importlib.util.find_spec("triton") is not None
"""Asked once and here, since torch.compile cannot trace the question."""


def require(part: str, extra: str, *packages: str) -> None:
    """Imports what a part of poz is built on.

    Args:
        part: What the sentence says needs it.
        extra: Of poz, which brings it.
        packages: By the names they are imported under.

    Raises:
        ImportError: One is missing; the message says what to install.
    """
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(f"{part} needs {package}: pip install 'poz[{extra}]'. ({error})") from error
