"""OpenRLHF: the advantages that its experience maker makes of a few rewards."""

from __future__ import annotations

from typing import Any

from poz.peers._library import Library
from poz.peers.openrlhf import imported

library = Library("OpenRLHF", "openrlhf")


def _of(rewards: list[float], estimator: str) -> list[float]:
    """Its advantages of one group whose completions have one token each, without a KL."""
    from types import SimpleNamespace

    import torch
    from openrlhf.trainer.ppo_utils.experience import Experience
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker as Maker

    advantage = SimpleNamespace(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=advantage), reward=SimpleNamespace(clip_range=None),
        rollout=SimpleNamespace(n_samples_per_prompt=len(rewards)),
    )  # fmt: skip
    maker = SimpleNamespace(
        strategy=SimpleNamespace(args=args), advantage_estimator=estimator, kl_ctl=SimpleNamespace(value=0.0),
        get_cumulative_returns=lambda *given: Maker.get_cumulative_returns(None, *given),
    )  # fmt: skip
    one = torch.ones(len(rewards), 1)
    group = Experience(rewards=torch.tensor(rewards), action_mask=one, kl=0 * one, index=list(range(len(rewards))))
    given: list[float] = Maker.compute_advantages_and_returns(maker, [group])[0].advantages.flatten().tolist()
    return given


for key, estimator, does, rewards, gives in [
    ("group_norm", "group_norm", "GRPO divides by the deviation of the group with ddof 1, plus 1e-9: rewards 1, 0, 0, 0.",
     [1.0, 0.0, 0.0, 0.0], [1.5, -0.5, -0.5, -0.5]),
    ("group_of_one", "group_norm", "The only completion of a group has an advantage of NaN with group_norm.",
     [2.0], [float("nan")]),
    ("rloo_of_one", "rloo", "The only completion of a group has an advantage of NaN with rloo.", [2.0], [float("nan")]),
    ("rloo", "rloo", "RLOO leaves each completion out of its own baseline: rewards 1, 0, 0, 0.",
     [1.0, 0.0, 0.0, 0.0], [1.0, -1 / 3, -1 / 3, -1 / 3]),
    ("dr_grpo", "dr_grpo", "Dr. GRPO subtracts the mean of the group: rewards 1, 0, 0, 0.",
     [1.0, 0.0, 0.0, 0.0], [0.75, -0.25, -0.25, -0.25]),
    ("reinforce", "reinforce", "REINFORCE++ whitens over all tokens with ddof 0: rewards 1, 0, 0, 0.",
     [1.0, 0.0, 0.0, 0.0], [1.7320508, -0.5773503, -0.5773503, -0.5773503]),
]:  # fmt: skip

    def call(rewards: Any = rewards, estimator: str = estimator) -> Any:
        return _of(rewards, estimator)

    call.__name__ = key
    library.fact(does, gives=gives, topic="group_advantage")(imported(call))
