"""References of the objectives on `poz.TokenPairs`."""
