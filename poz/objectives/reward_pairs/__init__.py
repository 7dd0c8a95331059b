"""Objectives on `poz.RewardPairs`."""
