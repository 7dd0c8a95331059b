"""Objectives on `poz.Unpaired`."""
