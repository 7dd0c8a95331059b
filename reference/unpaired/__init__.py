"""References of the objectives on `poz.Unpaired`."""
