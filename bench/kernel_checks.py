"""Every Triton kernel, as it runs, against float64: compiled on a GPU, interpreted elsewhere.

python -m poz.bench.kernel_checks            # on a GPU
TRITON_INTERPRET=1 python -m poz.bench.kernel_checks    # without one: small sizes
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterator

import torch

import poz
from poz.bench import head_checks, objective_checks
from poz.bench.jobs import Check, failed
from poz.testing import runs

Job = Callable[[str, bool], Iterator[Check]]


def jobs(large: bool) -> dict[str, Job]:
    """All jobs by name, the longest first; objectives are those that the kernels serve."""
    dtypes = (torch.float32, torch.bfloat16, torch.float16) if large else (torch.float32, torch.bfloat16)
    heads = {
        f"head {'x'.join(map(str, size))} {str(dtype)[6:]}": functools.partial(head_checks.head_options, size, dtype)
        for size, dtype in itertools.product(reversed(head_checks.SIZES) if large else ((34, 9, 261),), dtypes)
    }
    served = [name for name in poz.zoo if runs(name, "triton")]
    return {
        **({"more than 2^31 logits": head_checks.beyond_int32} if large else {}),
        **heads,
        "selected": head_checks.selected,
        "fused forward": head_checks.fused_forward,
        "poisoned memory": head_checks.poisoned,
        **{f"packed {name}": functools.partial(objective_checks.packed, name) for name in served},
        **{f"objective {name}": functools.partial(objective_checks.objective, name) for name in served},
    }


def main() -> int:
    """Print a line of JSON for each check, and one more as each job is done; 3 where the GPU can do no more."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small sizes on a GPU too, for compute-sanitizer")
    parser.add_argument("jobs", nargs="*", help="names of jobs; all where none is given")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    large = device == "cuda" and not arguments.small
    known = jobs(large)
    if device == "cuda":
        torch.cuda.synchronize()
    print(json.dumps({"ready": device}), flush=True)
    for name in arguments.jobs or known:
        try:
            for check in known[name](device, large):
                print(json.dumps({**check._asdict(), "passed": check.passed}), flush=True)
            if device == "cuda":
                torch.cuda.synchronize()
        except Exception as error:  # one broken kernel must not hide the others
            said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
            print(json.dumps(failed(name, said)._asdict()), flush=True)
        print(json.dumps({"done": name}), flush=True)
        if device == "cuda":
            try:
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
            except RuntimeError:  # an illegal access: all that this process does from here on would fail
                return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
