"""PPO's clipped surrogate of each token."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="Proximal Policy Optimization, clipped surrogate",
    paper="arXiv:1707.06347",
    equation="eq. 7",
    formula=r"-\min\bigl(rA,\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "verl-project/verl@1dda039 verl/trainer/config, TRL 1.16, OpenRLHF@3c3be62",
            {"epsilon_low": (0.2,), "epsilon_high": (0.2,), "dual_clip": (None, 3.0)},
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="section 3: without a constraint steps would be far too large, so a clip takes away what would move a ratio further",
            test="objectives/test_rollout_laws.py::test_where_the_clip_of_ppo_takes_the_gradient_and_that_of_cispo_does_not",
        ),
    ],
    basis="Paper, and trainers' code, executed in float64 (verl-project/verl@1dda039, huggingface/trl@v1.16.0, OpenRLHF/OpenRLHF@3c3be62, NVIDIA-NeMo/RL@7ea279a, allenai/open-instruct@e6c3044): tests/authors/ppo_clip.json. dual_clip is verl's, ratio_cap TRL's `delta`.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean", weighs=True)
def ppo_clip(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.2,
    dual_clip: Annotated[
        float | None, Real("c, where A < 0 the ratio counts as at most that", low=1, optional=True, usual=(1.0, 5.0))
    ] = None,
    ratio_cap: Annotated[
        float | None, Real("δ, the ratio is at most that before it is clipped", low=1, optional=True, usual=(1.0, 5.0))
    ] = None,
) -> Array:
    """The pessimistic one of the ratio and of the clipped ratio, times the advantage."""
    return at.surrogate(clipped(at, at.log_ratio, epsilon_low, epsilon_high, dual_clip, ratio_cap))
