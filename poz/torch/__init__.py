"""poz for torch: fused log-probs, and the parts that carry state. Importing this imports torch."""
# ruff: noqa: E402 - what is missing is said before anything fails

from poz._extras import require

require("poz.torch", "torch", "torch")

from poz.torch._fused_objective import FusedLoss as FusedLoss
from poz.torch._fused_objective import fused_objective as fused_objective
from poz.torch._turn import Turn as Turn
from poz.torch.completions import Completions as Completions
from poz.torch.extragradient import Extragradient as Extragradient
from poz.torch.head.linear_logps import LinearLogps as LinearLogps
from poz.torch.head.linear_logps import linear_logps as linear_logps
from poz.torch.head.linear_logps import linear_logps_plan as linear_logps_plan
from poz.torch.head.logps import logps as logps
from poz.torch.head.logps_head import LogpsHead as LogpsHead
from poz.torch.head.plan import Plan as Plan
from poz.torch.implicit_rewards import implicit_rewards as implicit_rewards
from poz.torch.implicit_rewards import list_rewards as list_rewards
from poz.torch.lcpo import LCPO as LCPO
from poz.torch.lists import ScoredLists as ScoredLists
from poz.torch.lists import list_losses as list_losses
from poz.torch.preference import PreferenceLoss as PreferenceLoss
from poz.torch.scored import Scored as Scored
from poz.torch.scored import scored_losses as scored_losses
from poz.torch.self_play import SelfPlay as SelfPlay
from poz.torch.sum_over import sum_over as sum_over
from poz.torch.token_logps import TokenLogps as TokenLogps
from poz.torch.token_logps import token_logps as token_logps
from poz.torch.whole_batch import slopes as slopes
from poz.torch.whole_batch import whole_batch as whole_batch
