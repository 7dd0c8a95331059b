"""Diffusion-DPO: DPO on denoising errors, also restricted to an interval of timesteps."""

from typing import Annotated

import numpy as np

from poz.backends import Array, Namespace
from poz.domains import NUMBERS, Real
from poz.families import Denoising, Pairs
from poz.objective import Deviation, Limit, Published, Values, objective


def _constraint(values: Values) -> str | None:
    first, last = values["first"], values["last"]
    if type(first) in NUMBERS and type(last) in NUMBERS and not first < last:
        return f"needs first < last; got {first} and {last}."
    return None


@objective(
    title="Diffusion-DPO",
    paper="arXiv:2311.12908",
    equation="eq. 14 (v1), its squared norms means over D numbers as in the authors' code: β is its 2 D T ω β",
    formula=r"-\log\sigma\Bigl(-\tfrac{\beta}{2}\bigl[(E_w-E_l)-(E^{ref}_w-E^{ref}_l)\bigr]\Bigr)",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected" + " timestep" * (p["first"] is not None or p["last"] is not None)
    ),
    published=[
        Published(
            "SalesforceAIResearch/DiffusionDPO@5233e75 launchers/sd15.sh, launchers/sdxl.sh", {"beta": (5000.0,)}
        ),
        Published("second hand: arXiv:2311.12908, Stable Diffusion 1.5", {"beta": (2000.0,)}),
    ],
    constraint=_constraint,
    reduces_to=[
        Limit(
            "dpo",
            "-E / 2 in place of log-probs, all timesteps",
            lambda p: {**p, "first": None, "last": None},
            lambda p: {"beta": p["beta"]},
            lambda b: (b, Pairs(*[-x / 2 for x in b[:4]])),
        )
    ],
    deviations=[Deviation("AlignHuman (arXiv:2506.11144)", "one expert per interval of timesteps", "first and last")],
    basis="Paper (v1, section 4). The authors' code, executed in float64 (SalesforceAIResearch/DiffusionDPO@5233e75): "
    "tests/authors/diffusion_dpo.json. The intervals follow AlignHuman's abstract; no code of them was run.",
)
def diffusion_dpo(
    xp: Namespace,
    pairs: Denoising,
    *,
    beta: Annotated[
        float, Real("β, strength of the constraint, the paper's times 2 D T ω", low=0, open="low", usual=(0.1, 50.0))
    ] = 5000.0,
    first: Annotated[float | None, Real("first timestep that counts", low=0, optional=True, usual=(0, 400))] = None,
    last: Annotated[
        float | None, Real("first one that does not any more", low=0, optional=True, usual=(500, 1000))
    ] = None,
) -> Array:
    """DPO with -E/2, half the negative error, in place of log-probs; outside the interval a pair costs nothing."""
    margin = (pairs.chosen - pairs.rejected) - (pairs.ref_chosen - pairs.ref_rejected)
    losses = -xp.log_sigmoid(-(beta / 2) * margin)
    if pairs.timestep is None:
        return losses
    step = xp.astype(pairs.timestep, losses)
    inside = (step >= (0 if first is None else first)) & (step < (np.inf if last is None else last))
    return xp.where(inside, losses, 0 * step)
