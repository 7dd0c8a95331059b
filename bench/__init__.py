"""Benchmarks of poz: `poz bench`, or `python -m poz.bench.run`. How each number is made is in NOTES.md."""
