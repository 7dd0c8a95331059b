"""`fused_objective` refuses fields as the objective itself does, before anything is sliced."""

import pytest
import torch

import poz
from poz.torch import fused_objective

PAIRS, LENGTH, HIDDEN, VOCABULARY = 3, 4, 8, 17


def call(objective=poz.dpo, shape=(2, PAIRS, LENGTH), **more):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*shape, HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    return fused_objective(objective, hidden, weight, torch.randint(0, VOCABULARY, shape, generator=generator), **more)


def both(n=PAIRS):
    return {"ref_chosen": torch.zeros(n), "ref_rejected": torch.zeros(n)}


OPPONENTS = {"opponents_chosen": torch.zeros(1, PAIRS), "opponents_rejected": torch.zeros(1, PAIRS)}


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda: call(fields=both(7)), ValueError, r"got ref_chosen of shape \(7,\), which does not fit chosen"),
    (lambda: call(fields={**both(), "ref_rejected": torch.zeros(4)}), ValueError, r"got ref_rejected of shape \(4,\)"),
    (lambda: call(fields={**both(), "ref_rejected": torch.zeros(())}), ValueError, r"got ref_rejected of shape \(\)"),
    (lambda: call(fields={"ref_chosen": torch.zeros(PAIRS)}), ValueError, "reads ref_rejected, which is missing"),
    (lambda: call(fields={**both(), "ref_rejected": None}), ValueError, "reads ref_rejected, which is missing"),
    (lambda: call(fields={**both(), "chosen": torch.zeros(PAIRS)}), TypeError, "must not hold chosen, which is made from"),
    (lambda: call("dpo", fields=both()), TypeError, "must be an objective, such as .* got 'dpo'"),
    (lambda: call(fields={**both(), "ref_chosn": torch.zeros(PAIRS)}), TypeError, "does not read ref_chosn.*it reads ref_ch"),
    (lambda: call(poz.simpo, fields=both()), TypeError, "`simpo` does not read ref_chosen.*it reads nothing else"),
    (lambda: call(poz.simpo, fields={"chosen_len": torch.ones(PAIRS)}), TypeError, "must not hold chosen_len"),
    (lambda: call(fields=both(), example_weights=[1.0] * PAIRS), TypeError, r"must be a tensor \(3,\); got a list"),
    (lambda: call(fields={"ref_chosen": [0.0] * PAIRS, "ref_rejected": [0.0] * PAIRS}), TypeError, "got list"),
    (lambda: call(poz.inpo, fields={**both(), **{n: x[0] for n, x in OPPONENTS.items()}}), ValueError, "does not fit"),
    (lambda: call(poz.inpo, fields={**both(), **{n: x.repeat(1, 2) for n, x in OPPONENTS.items()}}), ValueError, "does not fit"),
    (lambda: call(poz.ld_dpo, fields={n: torch.zeros(PAIRS, 5) for n in both()}), ValueError, r"\(3, 5\), which does not fit"),
    (lambda: call(poz.pro, (PAIRS, 2, LENGTH), fields={"scores": torch.tensor([[2.0, 1.0]] * 5)}), ValueError, "does not fit"),
])  # fmt: skip
def test_is_refused_in_a_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


@pytest.mark.parametrize("memory", ["32KiB", "1MiB"])
def test_what_fits_is_sliced_along_its_examples(memory):
    """Opponents have their examples in the second dimension."""
    generator = torch.Generator().manual_seed(1)
    fields = {name: torch.randn(x.shape, generator=generator) for name, x in {**both(), **OPPONENTS}.items()}
    made = call(poz.inpo.bind(eta=0.5), fields=fields, memory=memory)
    pairs = poz.Pairs(*made.logps, **fields)
    torch.testing.assert_close(made.losses, poz.inpo(pairs, eta=0.5))
