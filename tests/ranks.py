"""Processes of one group, that one which has imported torch and poz splits into: importing takes longer than most tests."""

import subprocess
import sys

START = """
import sys, torch, torch.multiprocessing, poz.torch
code, folder, size, *rest = sys.argv[1:]
def run(rank):
    sys.argv[1:] = [str(rank), *rest]
    with open(f"{folder}/said by {rank}", "w") as sys.stdout:
        exec(code, {"__name__": "__main__"})
torch.multiprocessing.start_processes(run, nprocs=int(size), daemon=True, start_method="fork")
"""


def ranks(code, size, folder, *arguments):
    """What each prints; its arguments are its rank, where the group meets, and the others. One that fails ends all."""
    given = [code, folder, size, folder / "store", *arguments]
    done = subprocess.run(
        [sys.executable, "-P", "-c", START, *map(str, given)], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(folder / f"said by {rank}").read_text() for rank in range(size)]
