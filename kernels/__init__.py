"""Triton kernels: one skeleton per family, one point function per objective, and a torch twin of each skeleton.

`poz.kernels.loss.token_loss` and `list_loss` take packed per-token log-probs, `fused_losses` beside them a batch
of a family. An objective without a point function is run by its own function, on sums over tokens that Triton makes;
only denoising errors are of no tokens. Importing this package imports neither torch nor Triton.
"""
