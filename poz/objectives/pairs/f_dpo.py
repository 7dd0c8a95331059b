"""f-DPO: DPO under other divergences than the reverse KL."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="DPO with f-divergence constraints",
    paper="arXiv:2309.16240",
    equation="the f-DPO loss, the score f'(u) by divergence",
    formula=r"-\log\sigma\bigl(\beta[s(a)-s(b)]\bigr),\quad s(a)\in\{a,\ -e^{-a},\ \log\sigma(a),\ (1-e^{-\alpha a})/\alpha\},\ (a,b)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w,\ y_l)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "alecwangcq/f-divergence-dpo@07d9369 mt_bench/run_gen_gpt4_judge_pairwise.sh",
            {"beta": (0.1,), "alpha": (0.5,)},
        ),
        Published("the same, metrics/imdb/run_alpha.sh", {"alpha": (0.1, 0.3, 0.5, 0.7, 0.9)}),
    ],
    answers=[
        Answer(
            "diversity",
            paper="abstract: divergences other than the reverse KL trade alignment for diversity of what is generated",
        ),
    ],
    reduces_to=[Limit("dpo", "reverse KL", lambda p: {**p, "divergence": "reverse_kl"}, lambda p: {"beta": p["beta"]})],
    deviations=[
        Deviation("TRL 0.29 to 1.9", "its α is 1 - α", "convention='trl'"),
        Deviation("the formula", "overflows for a << 0", "a tangent continues the exponential beyond e^60"),
    ],
    basis="The authors' code, executed in float64 (alecwangcq/f-divergence-dpo@07d9369), and TRL's α at 0.28, 0.29, 1.0, 1.9 and 1.16: "
    "tests/authors/f_dpo.json.",
)
def f_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the constraint", low=0, open="low", unit="1/nat")] = 0.1,
    divergence: Annotated[
        str, Choice("the constraint on the policy", ("reverse_kl", "forward_kl", "js", "alpha"))
    ] = "reverse_kl",
    alpha: Annotated[
        float, Real("α of the α-divergence: 0 reverse, 1 forward KL", low=0, high=1, open="both", usual=(0.05, 0.95))
    ] = 0.5,
    convention: Annotated[str, Choice("whose α", ("paper", "trl"))] = "paper",
) -> Array:
    """DPO with the log-ratio replaced by f'(π/π_ref), the score of the divergence f."""
    order = alpha if convention == "paper" else 1 - alpha

    def score(a: Array) -> Array:
        if divergence == "reverse_kl":
            return a
        if divergence == "forward_kl":
            return -terms.exponential(xp, -a)
        return xp.log_sigmoid(a) if divergence == "js" else -terms.exponential_minus_one(xp, -order * a) / order

    return -xp.log_sigmoid(beta * (score(pairs.chosen - pairs.ref_chosen) - score(pairs.rejected - pairs.ref_rejected)))
