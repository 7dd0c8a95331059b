"""References of the objectives on `poz.RewardPairs`."""
