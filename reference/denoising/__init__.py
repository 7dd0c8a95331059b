"""References of the objectives on `poz.Denoising`."""
