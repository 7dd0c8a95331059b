"""Kernels of the objectives on `poz.Rollouts`."""
