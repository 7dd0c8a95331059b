"""poz for JAX. Importing this imports JAX."""

from poz.jax import lcpo as lcpo
