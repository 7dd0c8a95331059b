"""`python -m poz.testing.worker BACKEND CASES SEED NAME...`: one line of JSON per objective."""

from __future__ import annotations

import json
import sys
from typing import Any

from poz.testing.conformance import verify

if __name__ == "__main__":
    backend: Any
    backend, cases, seed, *names = sys.argv[1:]
    for result in verify(names, [backend], int(cases), int(seed)):
        row = {**result._asdict(), "passed": result.passed}
        del row["case"]  # arrays
        print(json.dumps(row), flush=True)
