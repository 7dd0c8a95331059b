"""The files that a result describes: the tests beside a trainer, the versions that they ran with, and poz's integration of it."""

from pathlib import Path

HERE = Path(__file__).resolve().parent
INTEGRATIONS = HERE.parents[1] / "poz/integrations"


def files(name: str) -> list[Path]:
    """By the name of the result; trl_1_14 is of the integration trl."""
    library = name.partition("_")[0]
    return [
        HERE / f"test_{name}.py",
        HERE / f"{name}.txt",
        *INTEGRATIONS.glob(f"{library}.py"),
        *sorted(INTEGRATIONS.glob(f"{library}/*.py")),
    ]
