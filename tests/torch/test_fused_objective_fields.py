"""`fused_objective` refuses fields as the objective itself does, before anything is sliced."""

import pytest
import torch

import poz
from poz.torch import fused_objective, linear_logps

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


def learnt(x):
    return torch.tensor(x, requires_grad=True)


ONE_EACH = torch.tensor([0.1, 0.2, 0.3])
SOFT = {**both(), "label": learnt([0.7] * PAIRS)}


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: call(poz.dpo.bind(beta=learnt(0.3)), fields=both()), "beta of `dpo` requires a gradient"),
    (lambda: call(poz.lcpo.bind(base=poz.dpo.bind(beta=learnt(0.3))), fields=both()), "beta of `dpo` requires"),
    (lambda: call(poz.combine([(poz.dpo, learnt(0.3)), ("sft", 1.0)]), fields=both()), "the weight of `dpo` requires"),
    (lambda: call(poz.spce, fields=SOFT), "`fields` holds label, which requires a gradient"),
    (lambda: call(fields=both(), example_weights=learnt([1.0] * PAIRS)), "`example_weights` require a gradient"),
])  # fmt: skip
def test_a_gradient_that_it_does_not_make_is_refused(make, sentence):
    with pytest.raises(ValueError, match=f"{sentence}.*poz.torch.linear_logps"):
        make()
    with torch.no_grad():
        assert make().loss.isfinite()


@pytest.mark.parametrize(("objective", "sentence"), [
    (poz.dpo.bind(beta=ONE_EACH), "one beta of `dpo` for each example"),
    (poz.lcpo.bind(base=poz.dpo.bind(beta=ONE_EACH)), "one beta of `dpo` for each"),
    (poz.combine([(poz.dpo.bind(beta=ONE_EACH), 1.0), ("sft", 1.0)]), "one beta of `dpo` for each"),
    (poz.combine([(poz.dpo, ONE_EACH), ("sft", 1.0)]), "one weight of `dpo` for each"),
])  # fmt: skip
@pytest.mark.parametrize("memory", ["1MiB", "1GiB"])
def test_what_has_a_number_for_each_example_is_refused_whatever_fits_the_memory(objective, sentence, memory):
    """Of three pairs two are in the first chunk of 1 MiB, where weights for two would have been taken for those of all."""
    with pytest.raises(ValueError, match=f"{sentence}.*poz.torch.linear_logps"):
        call(objective, (2, PAIRS, 300), fields=both(), memory=memory)


def test_one_number_in_a_tensor_and_a_table_of_annotators_are_not_of_examples():
    plain = call(poz.dpo.bind(beta=0.3), fields=both()).losses
    torch.testing.assert_close(call(poz.dpo.bind(beta=torch.tensor([0.3])), fields=both()).losses, plain)
    known = {**both(), "annotator": torch.tensor([0, 1, 0])}
    made = call(poz.lcpo.bind(reliability=torch.tensor([0.9, 0.6])), fields=known)
    assert made.losses.isfinite().all()


def on_meta():
    made = {name: x.to("meta") for name, x in both().items()}
    tensors = (
        torch.zeros(2, PAIRS, 4, HIDDEN),
        torch.zeros(VOCABULARY, HIDDEN),
        torch.zeros(2, PAIRS, 4, dtype=torch.long),
    )
    return fused_objective(poz.dpo, *(x.to("meta") for x in tensors), fields=made)


def logps_on_meta(*names):
    tensors = {"hidden": torch.zeros(3, 8), "weight": torch.zeros(17, 8), "targets": torch.zeros(3, dtype=torch.long)}
    return linear_logps(**{name: x.to("meta") if name in names else x for name, x in tensors.items()})


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda: logps_on_meta("hidden", "weight", "targets"), ValueError, "`hidden` is on the meta device"),
    (lambda: logps_on_meta("targets"), ValueError, "`targets` is on the meta device"),
    (on_meta, ValueError, "`hidden` is on the meta device"),
    (lambda: call(fields=both(), example_weights=torch.ones(PAIRS, device="meta")), ValueError, "`example_weights` are on meta"),
    (lambda: call(fields=both(), example_weights=torch.ones(PAIRS, dtype=torch.complex64)), TypeError, "real numbers"),
    (lambda: call(fields=poz.Pairs(torch.zeros(PAIRS))), TypeError, "`fields` must be a mapping.*got a Pairs"),
    (lambda: call(fields=[torch.zeros(PAIRS)]), TypeError, "got a list"),
    (lambda: call(fields="ab"), TypeError, "got a str"),
])  # fmt: skip
def test_another_kind_of_thing_is_refused(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
