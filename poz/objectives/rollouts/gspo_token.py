"""GSPO whose tokens may have advantages of their own."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="GSPO-token",
    paper="arXiv:2507.18071",
    equation="eq. 13 and 14",
    formula=r"-\min\bigl(sA,\operatorname{clip}(s,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad s=\operatorname{sg}\bigl[\exp\bigl(\tfrac1{|y|}\sum_t\log\tfrac{\pi}{\pi_{old}}\bigr)\bigr]\tfrac{\pi}{\operatorname{sg}[\pi]},\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2507.18071 section 5.1",
            {"epsilon_low": (0.0003,), "epsilon_high": (0.0004,)},
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="abstract: ratio, clip and reward are of the whole sequence, which stabilises mixtures of experts",
        ),
        Answer(
            "token-credit",
            paper="section 4.3: advantages of single tokens, as for several turns, with the ratio of the sequence",
        ),
    ],
    basis="Paper, and verl's code, executed in float64 (verl-project/verl@1dda039): tests/authors/gspo_token.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True)
def gspo_token(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.0003,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.0004,
) -> Array:
    """The value of GSPO at each token, whose gradient is that of the token's own log-prob."""
    log_ratio = at.xp.stop_gradient(at.mean(at.log_ratio)) + steps.slope_of(at.xp, at.logps)
    return at.surrogate(clipped(at, log_ratio, epsilon_low, epsilon_high))
