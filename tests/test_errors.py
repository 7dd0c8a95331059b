"""Bad input gets a sentence: what was given, what is required, what to do."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
from poz.testing.conformance import conform

ONE = np.array([-1.0, -2.0])
PAIRS = poz.Pairs(ONE, ONE, ONE, ONE)
LIST = np.array([[-1.0, -2.0, -3.0]])

BAD = {
    "unknown objective": (lambda: poz.zoo["dpp"], KeyError, "no objective 'dpp'. Did you mean 'dpop' or 'dpo'"),
    "unknown parameter": (
        lambda: poz.dpo(PAIRS, gamma=1.0),
        TypeError,
        "`dpo` has no hyper-parameter 'gamma'; it has beta, label_smoothing",
    ),
    "out of domain": (
        lambda: poz.dpo.bind(beta=0.0),
        ValueError,
        r"`dpo` needs a number in \(0, inf\) for beta; got 0.0. Published are",
    ),
    "betas that do not fit": (
        lambda: poz.dpo(PAIRS, beta=np.ones((len(ONE), 1))),
        ValueError,
        r"a number, or one per example, an array of shape \(\d+,\), for beta; got shape \(\d+, 1\)",
    ),
    "more betas than pairs": (
        lambda: poz.dpo(PAIRS, beta=np.ones(len(ONE) + 3)),
        ValueError,
        "one per example, an array",
    ),
    "a beta for each list": (
        lambda: poz.plackett_luce(poz.Ranked(np.zeros((3, 3)), np.zeros((3, 3))), beta=np.ones(3)),
        ValueError,
        r"one number for all of them, for beta; got shape \(3,\)",
    ),
    "a coupled objective on rows of batches": (
        lambda: poz.dr_dpo(poz.Pairs(*[np.zeros((2, 3))] * 4)),
        ValueError,
        r"one log-prob per completion for chosen, shape \(batch,\); got shape \(2, 3\)",
    ),
    "a coupled objective on one pair alone": (
        lambda: poz.aot(poz.Pairs(*[np.zeros(())] * 4)),
        ValueError,
        "needs one batch dimension; got 0",
    ),
    "an unknown backend": (
        lambda: conform("dpo", backend="tensorflow"),
        ValueError,
        "no backend 'tensorflow'; there are",
    ),
    "nothing to conform": (lambda: conform("dpo", cases=0), ValueError, "At least one case of one example"),
    "an unknown dtype": (lambda: conform("dpo", dtype="fp32"), ValueError, "no dtype 'fp32' to conform in"),
    "an unknown field": (lambda: conform("dpo", constant=["ref"]), ValueError, "has no ref to hold constant"),
    "a function to conform to": (
        lambda: conform(max),
        TypeError,
        "needs a text or an Objective for name; got a builtin",
    ),
    "a sum to conform to": (lambda: conform(poz.combine({"dpo": 1.0, "sft": 1.0})), TypeError, "got `dpo \\+ sft`"),
    "a negative NumPy number": (lambda: poz.dpo.bind(beta=np.float64(-1)), ValueError, "for beta; got -1.0"),
    "an array outside": (
        lambda: poz.lcpo.bind(reliability=np.array([-3.0, 0.5])),
        ValueError,
        r"a number in \[0, 1\], or an array with one per annotator for reliability",
    ),
    "nan parameter": (lambda: poz.dpo.bind(beta=float("nan")), ValueError, "for beta; got nan"),
    "infinite parameter": (lambda: poz.dpo.bind(beta=float("inf")), ValueError, "for beta; got inf"),
    "string parameter": (lambda: poz.dpo.bind(beta="0.1"), ValueError, "for beta; got '0.1'"),
    "boolean for a number": (lambda: poz.dpo.bind(beta=True), ValueError, "for beta; got True"),
    "number for a flag": (lambda: poz.ipo.bind(length_normalized=1), ValueError, "one of False | True"),
    "unknown choice": (
        lambda: poz.simpo.bind(link="probit"),
        ValueError,
        "one of 'logistic' | 'hinge' for link; got 'probit'",
    ),
    "wrong sign": (lambda: poz.vpo.bind(sign=0), ValueError, "one of 1 | -1 for sign; got 0"),
    "none for a number": (lambda: poz.dpo.bind(beta=None), ValueError, "for beta; got None"),
    "no numbers in weights": (lambda: poz.mnpo.bind(weights=(-1.0, 2.0)), ValueError, "a tuple of numbers >= 0"),
    "empty weights": (lambda: poz.mnpo.bind(weights=()), ValueError, "a tuple of numbers >= 0"),
    "no objective as base": (
        lambda: poz.lcpo.bind(base="dpo"),
        ValueError,
        "an objective on pairs, such as poz.dpo.bind",
    ),
    "one number for weights": (
        lambda: poz.mnpo.bind(weights=np.array(1.0)),
        ValueError,
        "a tuple of numbers >= 0, or None for weights; got 1.0",
    ),
    "a torch number for weights": (lambda: poz.mnpo.bind(weights=torch.tensor(1.0)), ValueError, "a tuple of numbers"),
    "a torch beta for NumPy pairs": (
        lambda: poz.dpo(PAIRS, beta=torch.tensor(0.1)),
        TypeError,
        "`dpo` got torch for beta but numpy for the log-probs",
    ),
    "a NumPy beta for torch pairs": (
        lambda: poz.dpo(poz.Pairs(*[torch.zeros(2)] * 4), beta=np.array([0.1, 0.2])),
        TypeError,
        "`dpo` got numpy for beta but torch for the log-probs",
    ),
    "lcpo over lcpo": (
        lambda: poz.lcpo.bind(base=poz.lcpo),
        ValueError,
        "needs a base that takes labels at their word; got `lcpo`",
    ),
    "base of another family": (lambda: poz.lcpo.bind(base=poz.pro), ValueError, "needs a base on pairs"),
    "missing field": (
        lambda: poz.simpo(PAIRS),
        ValueError,
        r"`simpo` reads chosen_len, which is missing. Give poz.Pairs\(chosen=..., ",
    ),
    "other family": (lambda: poz.dpo(poz.Ranked(LIST)), TypeError, "`dpo` reads poz.Pairs; got Ranked"),
    "not a family": (lambda: poz.dpo((ONE, ONE)), TypeError, "`dpo` reads poz.Pairs; got tuple"),
    "shapes": (
        lambda: poz.dpo(PAIRS._replace(rejected=ONE[:1])),
        ValueError,
        r"rejected of shape \(1,\), which does not fit chosen",
    ),
    "tokens for sums": (lambda: poz.dpo(PAIRS._replace(ref_chosen=LIST)), ValueError, "ref_chosen of shape"),
    "opponent without axis": (
        lambda: poz.inpo(PAIRS._replace(opponents_chosen=ONE, opponents_rejected=ONE)),
        ValueError,
        "opponents_chosen of shape",
    ),
    "mixed libraries": (
        lambda: poz.dpo(PAIRS._replace(ref_chosen=torch.tensor(ONE))),
        TypeError,
        "got torch for ref_chosen but numpy",
    ),
    "mixed libraries with jax": (
        lambda: poz.dpo(PAIRS._replace(rejected=jnp.zeros(2))),
        TypeError,
        "got jax for rejected but numpy",
    ),
    "mixed devices": (
        lambda: poz.dpo(poz.Pairs(*[torch.zeros(2, device=d) for d in ("cpu", "meta", "cpu", "cpu")])),
        ValueError,
        "got rejected on meta but other fields on cpu",
    ),
    "integers": (
        lambda: poz.dpo(PAIRS._replace(chosen=np.array([-1, -2]))),
        TypeError,
        "needs floating-point log-probs in nats for chosen; got int64",
    ),
    "complex": (lambda: poz.dpo(PAIRS._replace(chosen=ONE + 0j)), TypeError, "got complex128"),
    "a list": (
        lambda: poz.dpo(poz.Pairs([-1.0], [-2.0], [-1.0], [-1.0])),
        TypeError,
        "of NumPy, torch or JAX is needed; got list",
    ),
    "floats for ids": (
        lambda: poz.lcpo(PAIRS._replace(annotator=ONE), reliability=np.array([0.5])),
        TypeError,
        "needs integer ids for annotator; got float64",
    ),
    "floats for a mask": (
        lambda: poz.pro(poz.Ranked(LIST, None, LIST, -LIST, LIST)),
        TypeError,
        "needs booleans for mask",
    ),
    "a list of one": (
        lambda: poz.pro(poz.Ranked(LIST[:, :1], None, -LIST[:, :1], LIST[:, :1])),
        ValueError,
        "at least 2 completions; got K = 1",
    ),
    "one segment": (
        lambda: poz.cpl_ranking(poz.Ranked(LIST[:, :1], scores=LIST[:, :1])),
        ValueError,
        "at least 2 segments; got K = 1",
    ),
    "unsorted scores": (
        lambda: poz.pro(poz.Ranked(LIST, None, -LIST, np.array([[1.0, 0.0, 2.0]]))),
        ValueError,
        "scores in descending order, best first; row .0,. rises at position 2",
    ),
    "a column of numbers in a base": (
        lambda: poz.lcpo(PAIRS, base=poz.dpo.bind(beta=np.ones((2, 1)))),
        ValueError,
        r"`dpo` needs a number, or one per example, .* for beta; got shape \(2, 1\)",
    ),
    "another library's number in a base": (
        lambda: poz.lcpo(PAIRS, base=poz.dpo.bind(beta=torch.tensor(0.2))),
        TypeError,
        "`dpo` got torch for beta but numpy for the log-probs",
    ),
    "annotator too large": (
        lambda: poz.lcpo(PAIRS._replace(annotator=np.array([0, 2])), reliability=np.array([0.5, 0.5])),
        ValueError,
        "annotator ids from 0 to 1; got 0 to 2",
    ),
    "negative annotator": (
        lambda: poz.lcpo(
            poz.Pairs(*[torch.zeros(2)] * 4, annotator=torch.tensor([-1, 0])), reliability=torch.tensor([0.5, 0.5])
        ),
        ValueError,
        "annotator ids from 0 to 1; got -1 to 0",
    ),
    "no annotators": (
        lambda: poz.lcpo(PAIRS, reliability=np.array([0.5, 0.5])),
        ValueError,
        "2 reliabilities but no annotator ids",
    ),
    "both gammas": (
        lambda: poz.simpo.bind(gamma=1.0, gamma_beta_ratio=0.5),
        ValueError,
        "gamma or gamma_beta_ratio, not both",
    ),
    "hinge with smoothing": (
        lambda: poz.simpo.bind(link="hinge", label_smoothing=0.1),
        ValueError,
        "no label smoothing for link='hinge'",
    ),
    "tau above eta": (
        lambda: poz.inpo.bind(tau=0.1),
        ValueError,
        "needs tau <= eta, else the current policy gets a negative weight",
    ),
    "squared distance to infinity": (lambda: poz.mnpo.bind(target="hard"), ValueError, "needs distance='backward_kl'"),
    "two opponents for inpo": (
        lambda: poz.inpo(PAIRS._replace(opponents_chosen=np.zeros((2, 2)), opponents_rejected=np.zeros((2, 2)))),
        ValueError,
        "one opponent, the current policy; got 2. Use poz.mnpo",
    ),
    "weights and opponents": (
        lambda: poz.mnpo(PAIRS._replace(opponents_chosen=ONE[None], opponents_rejected=ONE[None]), weights=(0.5, 0.5)),
        ValueError,
        "one weight per opponent; got 2 weights for 1 opponents",
    ),
    "no opponent": (
        lambda: poz.mnpo(PAIRS._replace(opponents_chosen=np.zeros((0, 2)), opponents_rejected=np.zeros((0, 2)))),
        ValueError,
        "at least one opponent; got none",
    ),
    "no calibration samples": (
        lambda: poz.vpo(PAIRS._replace(calibration=np.zeros(0), ref_calibration=np.zeros(0))),
        ValueError,
        "averages over calibration samples; got none",
    ),
    "mask of another shape": (
        lambda: poz.Pairs.from_tokens(LIST, LIST, chosen_mask=LIST[:, :2] < 0),
        ValueError,
        "chosen_mask must have the shape of chosen",
    ),
    "a mask with opponents": (
        lambda: poz.Pairs.from_tokens(LIST, LIST, chosen_mask=LIST[None] < 0),
        ValueError,
        "chosen_mask must have the shape of chosen",
    ),
    "reference tokens of another length": (
        lambda: poz.Pairs.from_tokens(LIST, LIST, ref_chosen=LIST[:, :2]),
        ValueError,
        r"ref_chosen must have the shape of chosen, \(1, 3\); got \(1, 2\)",
    ),
    "opponent tokens of another length": (
        lambda: poz.Pairs.from_tokens(LIST, LIST, opponents_rejected=LIST[None, :, :2]),
        ValueError,
        r"opponents_rejected must end in the shape of rejected, \(1, 3\); got \(1, 1, 2\)",
    ),
    "ranked reference tokens of another length": (
        lambda: poz.Ranked.from_tokens(LIST[None], ref_logps=LIST[None, :, :2]),
        ValueError,
        "ref_logps must have the shape of logps",
    ),
    "a NumPy mask for torch tokens": (
        lambda: poz.Pairs.from_tokens(torch.tensor(LIST), torch.tensor(LIST), chosen_mask=LIST < 0),
        TypeError,
        "chosen_mask must be of the library of chosen, torch; got numpy",
    ),
    "floats for a token mask": (
        lambda: poz.Pairs.from_tokens(LIST, LIST, chosen_mask=LIST),
        TypeError,
        "chosen_mask must be boolean",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, kind, sentence = BAD[case]
    with pytest.raises(kind, match=sentence.replace(" | ", r" \| ")) as caught:
        act()
    text = str(caught.value)
    assert text.endswith((".", "?"))
    assert "\n" not in text


def test_an_empty_batch_has_no_losses():
    empty = np.zeros(0)
    assert poz.dpo(poz.Pairs(empty, empty, empty, empty)).shape == (0,)
    assert poz.pro(poz.Ranked(np.zeros((0, 3)), None, np.zeros((0, 3)), np.zeros((0, 3)))).shape == (0,)


@pytest.mark.parametrize("name", ["ipo", "simpo", "inpo", "mnpo"])
def test_an_empty_completion_has_mean_log_prob_zero(name):
    """Length 0 counts as 1: the loss is finite and that of a completion whose mean log-prob is 0."""
    spec = poz.zoo[name] if name == "simpo" else poz.zoo[name].bind(length_normalized=True)
    batch = poz.Pairs(
        *[np.array([0.0]), np.array([-4.0])] * 2,
        np.array([0]),
        np.array([2]),
        *[None] * 3,
        np.zeros((1, 1)),
        np.zeros((1, 1)),
    )
    losses = spec(batch)
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(losses, spec(batch._replace(chosen_len=np.array([7]))))
