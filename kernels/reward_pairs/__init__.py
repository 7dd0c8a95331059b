"""Kernels of the objectives on `poz.RewardPairs`."""
