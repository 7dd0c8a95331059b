"""mDPO: DPO that must also look at the image, and an anchor under the chosen completion."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Published, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    if lists.logps.shape[-1] != 3:
        raise ValueError(
            "`mdpo` needs 3 log-probs, chosen, rejected, and chosen given a corrupted image, in this order; "
            f"got K = {lists.logps.shape[-1]}."
        )


@objective(
    title="Multimodal DPO",
    paper="arXiv:2406.11839",
    equation="the mDPO loss: DPO, conditional and anchored",
    formula=r"-\log\sigma(\beta(a-b))-\log\sigma(\beta(a-c))-\log\sigma(\beta a-\delta),\quad (a,b,c)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w|m,\ y_l|m,\ y_w|\tilde m)",
    reads="logps ref_logps",
    published=[
        Published(
            "luka-group/mDPO@2221bb3 bunny/config.yaml, and no δ in mdpo_trainer.py", {"beta": (0.1,), "delta": (0.0,)}
        )
    ],
    answers=[
        Answer(
            "prompts",
            paper="abstract: preferences learned from words alone overlook the image, so that images are contrasted too",
        ),
        Answer(
            "displacement",
            paper="abstract: an anchor keeps the reward of chosen positive",
            test="objectives/test_multimodal_laws.py::test_mdpo_treats_the_rejected_and_the_corrupted_alike_and_anchors_the_chosen",
        ),
    ],
    check_values=_check_values,
    basis="The authors' code, executed in float64 (luka-group/mDPO@2221bb3): tests/authors/mdpo.json. Their anchor has no δ.",
)
def mdpo(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    delta: Annotated[float, Real("δ, target of the anchor", low=0, usual=(0.0, 2.0))] = 0.0,
) -> Array:
    """Logistic losses against the rejected completion, against the corrupted image, and of chosen on its own."""
    ratio = lists.logps - lists.ref_logps
    chosen, rejected, corrupted = ratio[..., 0], ratio[..., 1], ratio[..., 2]
    pair, image = xp.log_sigmoid(beta * (chosen - rejected)), xp.log_sigmoid(beta * (chosen - corrupted))
    return -pair - image - xp.log_sigmoid(beta * chosen - delta)
