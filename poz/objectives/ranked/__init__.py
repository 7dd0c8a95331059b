"""Objectives on `poz.Ranked`."""
