"""poz for torch: fused log-probs, and the parts that carry state. Importing this imports torch."""

from poz.torch.lcpo import LCPO as LCPO
