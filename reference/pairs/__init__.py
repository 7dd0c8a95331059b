"""References of the objectives on `poz.Pairs`."""
