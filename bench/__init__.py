"""Benchmarks of poz: `poz bench`, or `python -m poz.bench.run`. How each number is made is in NOTES.md."""

import os

from poz._extras import require

# torch's profiler, which counts memory on a CPU, prints two lines for each use unless told not to before it is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
require("poz.bench", "bench", "torch")
