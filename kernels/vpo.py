"""VPO, arXiv 2405.19320: the pair part is DPO's; the calibration bonus is the same for every pair, added outside."""

from poz.kernels.dpo import logistic as logistic
