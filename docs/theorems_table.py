"""Writes docs/theorems.md from the comments under the tests: `python docs/theorems_table.py`."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "objectives/test_theorems.py",
    "objectives/test_reward_model_laws.py",
    "objectives/test_reward_claims.py",
    "objectives/test_general_preference_laws.py",
    "objectives/test_latent_laws.py",
    "test_games.py",
    "algorithms/test_self_play.py",
    "algorithms/test_lcpo_em.py",
    "rewards/test_rewards_claims.py",
    "rewards/test_rewards_fits_claims.py",
    "advantages/test_advantage_claims.py",
    "objectives/test_rollout_laws.py",
    "objectives/test_rollout_claims.py",
)
HEAD = """# Theorems reproduced

Claims of the papers (and what follows from them) that the test-suite reproduces, on tabular policies and through the
objectives that users call. Written by `docs/theorems_table.py` from the comments under the tests; a test keeps it so.

| test | claim, source and figure |
|---|---|
"""


def claim(lines: list[str], node: ast.FunctionDef) -> str:
    """The docstring of a test, or the comment lines at the top of its body."""
    if text := ast.get_docstring(node):
        return " ".join(text.split())
    found = []
    for line in lines[node.body[0].lineno - 2 :: -1]:
        if not line.strip().startswith("#"):
            break
        found.append(line.strip("# "))
    return " ".join(reversed(found))


def table() -> str:
    """The page."""
    rows = []
    for name in FILES:
        text = (ROOT / "tests" / name).read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = claim(text.splitlines(), node)
                if said:
                    escaped = said.replace("|", "\\|")
                    rows.append(f"| `{Path(name).stem[5:]}` {node.name[5:].replace('_', ' ')} | {escaped} |")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/theorems.md").write_text(table())
