"""Kernels of the objectives on `poz.TokenPairs`."""
