"""What an LCPO takes as its state, and what it takes as its base."""

import pytest
import torch

import poz
from poz.torch import LCPO


@pytest.mark.parametrize(("given", "error", "sentence"), [
    ([0.5], TypeError, "The state must hold `reliability` as a tensor; got a list"),
    ("x", TypeError, "as a tensor; got a str"),
    (torch.zeros(1, device="meta"), ValueError, "is on the meta device and has no values"),
])  # fmt: skip
def test_a_state_of_another_kind_is_refused(given, error, sentence):
    with pytest.raises(error, match=sentence):
        LCPO().load_state_dict({"reliability": given})


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_reliabilities_stay_float32_whatever_is_loaded(dtype, assign):
    """In 16 bit an eta would not move by small steps."""
    loss = LCPO()
    loss.load_state_dict({"reliability": torch.tensor([0.75], dtype=dtype)}, assign=assign)
    assert loss.reliability.dtype == torch.float32
    assert loss.reliability.item() == 0.75


def test_doubted_labels_are_doubted_once():
    twice = poz.combine({"dpo": 1.0, "lcpo": 0.5})
    for base in (twice, poz.combine([(twice, 1.0), ("hinge", 1.0)])):
        with pytest.raises(ValueError, match="needs a base that takes labels at their word; got `"):
            poz.lcpo.bind(base=base)
        with pytest.raises(ValueError, match="needs a base that takes labels at their word"):
            LCPO(base)
