"""Objectives on `poz.Denoising`."""
