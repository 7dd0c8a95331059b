"""References of the objectives on `poz.Ranked`."""
