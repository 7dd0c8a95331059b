"""Kernels of the objectives on `poz.Pairs`."""
