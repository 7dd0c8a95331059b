"""Weighted Preference Optimization: off-policy pairs count less."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import TokenPairs
from poz.objective import Published, Values, objective
from poz.purposes import Answer


def _needs(p: Values) -> str:
    return "chosen rejected ref_chosen ref_rejected" + " chosen_collision rejected_collision" * bool(p["collision"])


@objective(
    title="Weighted Preference Optimization",
    paper="arXiv:2406.11827",
    equation="eq. 1, its weights by sampled alignment from eq. 2 (v2)",
    formula=r"w\,\ell(\beta h),\quad w=\min\Bigl(1,\exp\sum_{y\in\{y_w,y_l\}}\tfrac{1}{|y|}\sum_t\bigl[\log\pi(y_t)-\log\textstyle\sum_v\pi(v)^2\bigr]\Bigr)",
    reads=_needs,
    optional="chosen_mask rejected_mask",
    published=[Published("wzhouad/WPO@a104458 training_configs/llama3_instruct.yaml, mistral.yaml", {"beta": (0.01,)})],
    answers=[
        Answer(
            "off-policy",
            paper="abstract: pairs of other models are reweighted by their probability under the policy, to resemble its own",
            test="objectives/test_token_weight_laws.py::test_wpo_weights",
        ),
    ],
    gradient_stops="w, the weight of the pair",
    basis="Paper (v2, section 3), and the authors' code and TRL's, executed in float64 (wzhouad/WPO@a104458, huggingface/trl@v1.16.0): tests/authors/wpo.json. The clamp is the code's; collision=False is not theirs.",
)
def wpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.01,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
    collision: Annotated[bool, Choice("measure a token against the policy's collision probability", FLAG)] = True,
    clamp: Annotated[bool, Choice("no weight above 1", FLAG)] = True,
) -> Array:
    """DPO weighted by how likely the policy is to have written the pair, per token and held constant."""
    h: Array = 0
    log_weight: Array = 0
    for side, sign in (("chosen", 1), ("rejected", -1)):
        mask, logps = getattr(pairs, f"{side}_mask"), getattr(pairs, side)
        count = xp.sum(xp.ones_like(logps) if mask is None else xp.astype(mask, logps), -1)
        h = h + sign * xp.sum(terms.masked(xp, logps - getattr(pairs, f"ref_{side}"), mask), -1)
        likely = logps - xp.astype(getattr(pairs, f"{side}_collision"), logps) if collision else logps
        log_weight = log_weight + xp.sum(terms.masked(xp, likely, mask), -1) / xp.maximum(count, 1.0)
    log_weight = xp.stop_gradient(log_weight)
    weight = xp.exp(-xp.relu(-log_weight) if clamp else log_weight)
    return terms.times(xp, weight, terms.smoothed(xp, beta * h, label_smoothing))
