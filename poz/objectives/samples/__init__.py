"""Objectives on `poz.Samples`."""
