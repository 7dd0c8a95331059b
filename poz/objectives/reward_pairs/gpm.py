"""General preference model: embeddings in place of scores, so that preferences may run in circles."""

from typing import Annotated

from poz import terms
from poz._checks import least
from poz.backends import Array, Namespace, namespace
from poz.domains import Choice, Real
from poz.families import RewardPairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: RewardPairs, values: Values) -> None:
    labels.check(xp, "gpm", pairs)
    width, scales = pairs.chosen_embedding.shape[-1], pairs.scales
    if width == 0 or width % 2:
        raise ValueError(f"`gpm` needs embeddings of an even width, 2 k outputs of the value head; got width {width}.")
    if scales is not None and scales.shape[-1] != width // 2:
        raise ValueError(f"`gpm` needs {width // 2} scales for a width of {width}; got {scales.shape[-1]}.")
    if scales is not None and (low := least(xp, scales)) < 0:
        raise ValueError(f"`gpm` needs scales of 0 or more; got {low:g}, which turns preferences round. Swap the pair.")


def _on_a_line(pairs: RewardPairs) -> tuple[RewardPairs, RewardPairs]:
    """Embeddings (r, 3), and the rewards 3 r; r is the first number that was drawn."""
    v, w = (x[..., :1] for x in (pairs.chosen_embedding, pairs.rejected_embedding))
    join = namespace(v).concatenate
    flat = pairs._replace(
        chosen_embedding=join([v, 0 * v + 3], -1), rejected_embedding=join([w, 0 * w + 3], -1), scales=None, tie=None
    )
    return flat, flat._replace(chosen=3 * v[..., 0], rejected=3 * w[..., 0])


@objective(
    title="General Preference Model",
    paper="arXiv:2410.02197",
    equation="the preference score ⟨R v_w, v_l⟩, as on the authors' page, and its cross-entropy; body not read",
    formula=r"-P\log\sigma(z)-(1-P)\log\sigma(-z),\quad z=\tfrac{s-m}{\tau},\quad s=\sum_l\lambda_l\,(v^w_{2l}v^l_{2l+1}-v^w_{2l+1}v^l_{2l});\quad\tfrac{P}{2}(z-T)^2+\tfrac{1-P}{2}(z+T)^2",
    reads=lambda p: "chosen_embedding rejected_embedding" + " margin" * (p["link"] == "margin_regression"),
    optional="scales label margin",
    check_values=_check_values,
    aliases=("general_preference",),
    published=[
        Published(
            "general-preference/general-preference-model@a376d95 scripts/train_rm_general_preference.py; ..._multi.sh",
            {"temperature": (0.1, 1.0), "target": (10.0,)},
        )
    ],
    answers=[
        Answer(
            "intransitive",
            paper="the authors' README: beyond Bradley-Terry, general preferences by an embedding",
            test="objectives/test_general_preference_laws.py::test_a_general_preference_model_learns_the_circles_that_no_reward_has",
        ),
    ],
    reduces_to=[
        Limit(
            "bradley_terry",
            "v = (r, c) in one plane: rewards c r",
            lambda p: {**p, "link": "logistic"},
            lambda p: {"temperature": p["temperature"]},
            _on_a_line,
        )
    ],
    deviations=[  # classes of the authors' models/loss.py, and kin of the same names
        Deviation("the paper's theorem", "(second hand) transposes R, so has the other sign", "s > 0: chosen wins"),
        Deviation("the paper", "(second hand) normalizes embeddings; in the code that is commented out", "as given"),
        Deviation("GeneralPreferenceLoss", "τ = 1, where HighDimGeneralPreferenceLoss has 0.1", "temperature=1"),
        Deviation("...RegressionLoss", "T = 5σ(m), no m subtracted", "link='margin_regression', target=5"),
        Deviation("HighDim..., MoE, LearnableTau", "regress s - m on T = 0", "link='regression', target=0"),
        Deviation("LearnableTau", "max(softplus(ρ), 1e-2), no gradient at that floor", "temperature=softplus(ρ)"),
        Deviation("HighDim...LearnableTau", "fails; τ of each plane, softplus(-ρ)", "scales=1/τ, temperature=scale"),
        Deviation("MoE", "λ = k softmax(...) of the prompt; that fails", "scales=λ, temperature=softmax_tau"),
        Deviation("PairWise...", "rewards r; LearnableTauRegression has τ = softplus(-ρ)", "embeddings (r, 1)"),
    ],
    basis="The authors' code, every class of it executed in float64 (general-preference/general-preference-model@a376d95): tests/authors/gpm.json. "
    "Soft labels are not in it: a loss is the mean over both orders, the margin of the other one being -m.",
)
def gpm(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    temperature: Annotated[float, Real("τ; as a tensor it is trained along", low=0, open="low")] = 0.1,
    link: Annotated[
        str,
        Choice("cross-entropy, or squares: z to T, s / τ to T σ(m)", ("logistic", "regression", "margin_regression")),
    ] = "logistic",
    target: Annotated[float, Real("T, the z that a regression aims at", usual=(0.0, 10.0))] = 10.0,
) -> Array:
    """Loss of the score of chosen over rejected, the area that their embeddings span: positive where chosen wins."""
    v, w = pairs.chosen_embedding, pairs.rejected_embedding
    areas = v[..., 0::2] * w[..., 1::2] - v[..., 1::2] * w[..., 0::2]
    score = xp.sum(areas if pairs.scales is None else pairs.scales * areas, -1)
    win = lose = target
    if link == "margin_regression":
        margin = xp.astype(pairs.margin, score)
        win, lose = target * xp.sigmoid(margin), target * xp.sigmoid(-margin)
    elif pairs.margin is not None:
        score = score - xp.astype(pairs.margin, score)
    z = score / temperature
    if link == "logistic":
        first, second = -xp.log_sigmoid(z), -xp.log_sigmoid(-z)
    else:
        first, second = (z - win) ** 2 / 2, (z + lose) ** 2 / 2
    if pairs.label is None:
        return first
    label = xp.astype(pairs.label, z)
    return terms.times(xp, label, first) + terms.times(xp, 1 - label, second)
