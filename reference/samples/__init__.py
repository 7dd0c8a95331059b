"""References of the objectives on `poz.Samples`."""
