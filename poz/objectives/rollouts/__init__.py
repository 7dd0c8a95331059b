"""Objectives on `poz.Rollouts`, each in a file of its name."""
