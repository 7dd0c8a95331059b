"""Self-Play Preference Optimization: every completion's log-ratio is regressed on its own win rate."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Samples
from poz.objective import Deviation, Published, Values, objective
from poz.purposes import Answer


def win_rates(name: str, xp: Namespace, samples: Samples) -> None:
    """Refuse winrates that are no probabilities."""
    known = xp.values(samples.winrates)
    if known is not None and ((known < 0) | (known > 1)).any():
        raise ValueError(
            f"`{name}` needs winrates in [0, 1]; got {known.min()} to {known.max()}. Use poz.gpo for scores of another scale."
        )


def _check_values(xp: Namespace, samples: Samples, values: Values) -> None:
    win_rates("sppo", xp, samples)


@objective(
    title="Self-Play Preference Optimization",
    paper="arXiv:2405.00675",
    equation="the SPPO loss on K completions; Algorithm 1 and eq. 4.7 as TRL cites them",
    formula=r"\tfrac12\sum_k\bigl(\log\tfrac{\pi(y_k)}{\pi_t(y_k)}-\eta(\hat P(y_k\succ\pi_t)-\tfrac12)\bigr)^2",
    reads="logps anchor_logps winrates",
    published=[Published("uclaml/SPPO@5e61c4e scripts/pipeline.sh, 1/β", {"eta": (1000.0,)})],
    answers=[
        Answer(
            "intransitive",
            paper="theorem 4.1: a constant-sum game of which the average policy nears the equilibrium; the last policy need not",
            test="algorithms/test_self_play.py::test_sppo_average_converges_and_the_last_iterate_spirals_outward",
        ),
        Answer("online", paper="the authors' code: win rates among samples of the last iterate"),
    ],
    check_values=_check_values,
    deviations=[
        Deviation(
            "the authors' code", "η is 1/β, and a pair is the best and the worst completion", "eta=1/beta, K = 2"
        ),
        Deviation("the authors' `sppo_single`", "one probability p of the pair", "winrates=(p, 1-p)"),
    ],
    basis="The authors' code, executed in float64 (uclaml/SPPO@5e61c4e): tests/authors/sppo.json, for K = 2; its half sum is kept for any "
    "K. log Z is taken as η/2.",
)
def sppo(
    xp: Namespace,
    samples: Samples,
    *,
    eta: Annotated[
        float, Real("η, step size: log-ratio that a win rate of 1 rather than 0 buys", low=0, open="low", unit="nat")
    ] = 1000.0,
) -> Array:
    """Half the squared distances of the log-ratios to the last iterate from η(P - 1/2); not shift invariant."""
    ratio = samples.logps - samples.anchor_logps
    return 0.5 * xp.sum((ratio - eta * (xp.astype(samples.winrates, ratio) - 0.5)) ** 2, -1)
