"""poz for JAX. Importing this imports JAX."""
