"""Formulas: the files that hold them, and the tests that judge each."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from changes import ROOT

REFERENCES = {path.stem: path for path in sorted((ROOT / "reference").rglob("[a-z]*.py"))}
KINDS = {
    "poz": [ROOT / "poz/terms.py", *sorted((ROOT / "poz/objectives").rglob("*[a-z].py"))],
    "reference": sorted((ROOT / "reference").rglob("*[a-z].py")),
    "kernels": [p for p in sorted((ROOT / "kernels").rglob("*.py")) if p.stem in ("_maths", "_points", *REFERENCES)],
}
TESTS = {path.name: path for path in sorted((ROOT / "tests").rglob("test_*.py"))}
LAWS = {
    name: path.read_text()
    for name, path in TESTS.items()
    if path.stem in ("test_game_losses", "test_peer_bugs", "test_rollout_extremes", "test_rollout_choices")
    or (path.stem.endswith("_laws") and path.stem != "test_laws")
}
SHARED = ("simpo", "pro", "cpl", "lcpo", "mnpo")  # between them they use every skeleton of a kernel


def stages(path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What to run: a test file, an expression that selects tests, and the objectives whose kernels are interpreted."""
    kind = "poz" if path.is_relative_to(ROOT / "poz") else path.relative_to(ROOT).parts[0]
    name = path.stem
    shared = name.startswith("_") or name == "terms"
    users = [other.stem for other in KINDS[kind] if other.stem[0] != "_" and name in other.read_text(encoding="utf-8")]
    mine = name if not shared else " or ".join(users) if users and name != "terms" else "test"
    if kind == "kernels":
        users: tuple[str, ...] = {"_maths": ("dpo",), "_points": ("dpo", "vpo", "ipo", "inpo", "odpo")}.get(
            name, (name,)
        )
        known = "hinge_slope or bitwise or no_pairs or need_a_gradient or swapped or several_blocks or upstream"
        for names in [users, SHARED][: 2 if shared else 1]:
            own = [f"[{name}{end}" for name in names for end in ("]", "-", ":")] + ["over-vpo]"] * ("vpo" in names)
            mine = f"({' or '.join([*own, known])}) and not twin_equals_reference and not launcher"
            yield "test_kernels.py", mine, names
        return
    yield "test_values.py", "test", ()
    if kind == "reference":
        if shared:
            yield "test_stable.py", "test", ()
        yield "test_reference.py", mine, ()
        yield "test_reference_unknown.py", mine, ()
        yield "test_reference_points.py", "test", ()
        yield "test_spec.py", "same_parameters", ()
        return
    yield "test_spec.py", f"same_parameters and ({mine})", ()
    yield "test_laws.py", f"({mine}) and not jax", ()
    yield "test_errors.py", "not jax", ()
    yield "test_backends.py", f"({mine}) and (numpy or torch or nan_and_inf) and not compile and not jax", ()
    yield "test_theorems.py", mine, ()
    for laws, text in sorted(LAWS.items()):
        if mine == "test" or any(re.search(rf"\b{one}\b", text) for one in ([name] if not shared else users)):
            yield laws, "not jax", ()


class Interpreter:
    """Lets the kernel tests interpret in this process, a few objectives only."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def mine(self, key: str) -> bool:
        return re.split("[:-]", key)[0] in self.names or (key.endswith("over-vpo") and "vpo" in self.names)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        def ours(item: Any) -> bool:
            name = getattr(item, "callspec", None) and item.callspec.params.get("name")
            return not (hasattr(item.module, "_elsewhere") and isinstance(name, str)) or self.mine(name)

        items[:] = filter(ours, items)

    def pytest_collection_finish(self, session: Any) -> None:
        import torch

        interpreting = [item.module for item in session.items if hasattr(item.module, "_elsewhere")]
        if not interpreting:
            return
        tests, empty = interpreting[0], torch.empty
        names, over = tests.NAMES, tests.OVER

        def here(what: str, *_: object, **__: object) -> object:
            if what != "interpret":
                pytest.skip("compiled for a GPU in a process of its own, all of them")
            tests.NAMES = self.names
            tests.OVER = {key: bound for key, bound in over.items() if self.mine(key)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    return tests.interpret()
                finally:
                    torch.empty, tests.NAMES, tests.OVER = empty, names, over

        tests._elsewhere = here


def quick(name: str) -> bool:
    """Whether a kernel agrees with its reference on two small batches: most mutants end here, in half a second."""
    from poz.testing import conform

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return conform(name, backend="triton", dtype="float32", cases=2, size=3).passed
