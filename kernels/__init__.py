"""Triton kernels: one skeleton per family, one point function per objective, and a torch twin of each skeleton.

`poz.kernels.loss.token_loss` and `list_loss` take packed per-token log-probs, `poz.kernels.batch.fused_losses` a batch
of a family. Importing this package imports neither torch nor Triton.
"""
