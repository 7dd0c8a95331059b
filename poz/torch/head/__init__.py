"""From hidden states and a linear head to log-probabilities; what is public is named in `poz.torch`."""
