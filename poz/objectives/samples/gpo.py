"""General Preference Optimization: SPPO on the mean scores of a general preference model."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Samples
from poz.objective import Deviation, Published, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, samples: Samples, values: Values) -> None:
    if samples.logps.shape[-1] == 0:
        raise ValueError("`gpo` needs at least one completion per prompt; got K = 0.")


@objective(
    title="General Preference Optimization",
    paper="arXiv:2410.02197",
    equation="eq. 5.3 (v3) with log Z = 0",
    formula=r"\tfrac1K\sum_k\bigl(\log\tfrac{\pi(y_k)}{\pi_t(y_k)}-\tfrac{\hat s_k}{\beta}\bigr)^2,\quad \hat s_k=\tfrac1K\sum_j s(y_k\succ y_j)",
    reads="logps anchor_logps winrates",
    published=[
        Published(
            "general-preference/general-preference-model@a376d95 LLM-Alignment/run_gpo_llama-3_table_gp.sh",
            {"beta": (0.001,)},
        )
    ],
    answers=[
        Answer(
            "intransitive",
            paper="theorem: the duality gap of the average policy vanishes; that of the last one need not",
            test="algorithms/test_self_play.py::test_gpo_duality_gap_of_the_average",
        ),
        Answer("online", paper="the algorithm: completions are sampled from the last policy"),
    ],
    check_values=_check_values,
    deviations=[
        Deviation("SPPO", "scores P - 1/2, 1/β called η, and half the sum", "winrates=P-1/2, beta=1/eta, times K / 2"),
        Deviation(
            "the authors' scripts",
            "average s(y_k ≻ y_j) - s(y_j ≻ y_k), which is twice ŝ, as their models have s(y ≻ y') = -s(y' ≻ y)",
            "winrates=2*ŝ",
        ),
        Deviation("the authors' scripts", "set a `clamp_thres` of 1000, which nothing released reads", "no clamp"),
    ],
    basis="Paper, full text; its trainer is not released. SPPO's loss of two completions, executed in float64 (uclaml/SPPO@5e61c4e): "
    "tests/authors/gpo.json. Its population step: tests/algorithms/test_self_play.py::test_gpo_duality_gap_of_the_average",
)
def gpo(
    xp: Namespace,
    samples: Samples,
    *,
    beta: Annotated[
        float,
        Real(
            "β, strength of the constraint to the last iterate; 1/β is the step size", low=0, open="low", unit="1/nat"
        ),
    ] = 0.001,
) -> Array:
    """Mean squared distance of the log-ratios to the last iterate from ŝ/β, `winrates` being the mean scores ŝ."""
    ratio = samples.logps - samples.anchor_logps
    return xp.sum((ratio - xp.astype(samples.winrates, ratio) / beta) ** 2, -1) / ratio.shape[-1]
