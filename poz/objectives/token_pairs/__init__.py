"""Objectives on `poz.TokenPairs`."""
