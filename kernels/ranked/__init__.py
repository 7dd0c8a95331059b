"""Kernels of the objectives on `poz.Ranked`."""
