"""Objectives on `poz.Pairs`."""
