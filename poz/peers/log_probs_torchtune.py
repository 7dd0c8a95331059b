"""torchtune: the log-probs under its DPO recipes."""

from collections.abc import Callable
from typing import Any

from poz.peers._library import Library
from poz.peers._log_probs import shifted

library = Library("torchtune", "torchtune")


@library.log_probs("rlhf.get_batch_log_probs", logits=True)
def _batch() -> Callable[..., Any]:
    from torchtune.rlhf import get_batch_log_probs

    return lambda logits, targets: get_batch_log_probs(*shifted(logits, targets))
