"""References of the objectives on `poz.Rollouts`."""
