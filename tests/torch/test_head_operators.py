"""The derivatives and the promises of the operators of `linear_logps`; `test_compiled_lengths` makes graphs of them."""

import pytest
import torch

import poz.torch  # noqa: F401  makes the operators

ROWS, HIDDEN, VOCABULARY = 4, 3, 7
FORWARD, BACKWARD = torch.ops.poz.linear_logps.default, torch.ops.poz.linear_logps_backward.default
SETTINGS = {
    "ignore_index": -100,
    "temperature": 0.8,
    "logit_scale": 1.3,
    "softcap": None,
    "fast": False,
    "outputs": "logps,lse,entropy",
    "mode": "keep",
    "block_rows": 64,
    "implementation": "torch",
    "group": "",
    "first": 0,
    "vocabulary": VOCABULARY,
    "check": True,
}


def arguments(operator, given):
    """By the names in the operator's schema."""
    return tuple(given[argument.name] for argument in operator._schema.arguments)


def tensors(rows=ROWS):
    generator = torch.Generator().manual_seed(rows)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)

    targets = torch.randint(VOCABULARY, (rows,), generator=generator)
    targets[1] = -100
    named = {"hidden": draw(rows, HIDDEN), "weight": draw(VOCABULARY, HIDDEN), "bias": draw(VOCABULARY)}
    return named | {"targets": targets, "rows": None}


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("mode", ["keep", "recompute", "one pass"])
def test_gradcheck(mode, softcap):
    """Against differences of the operator's own values, in every mode; also where some upstream gradients are not there."""
    given = tensors() | SETTINGS | {"mode": mode, "softcap": softcap}
    moving = [given[name] for name in ("hidden", "weight", "bias")[: 1 if mode == "one pass" else 3]]

    def outputs(*moved):
        return FORWARD(*moved, *arguments(FORWARD, given)[len(moved) :])[:3]

    assert torch.autograd.gradcheck(outputs, moving)


def test_promises_of_the_operators():
    given = tensors() | SETTINGS
    torch.library.opcheck(
        FORWARD, arguments(FORWARD, given), test_utils=("test_schema", "test_faketensor", "test_autograd_registration")
    )
    stats, tile_lse, kept = (x.detach() for x in FORWARD(*arguments(FORWARD, given))[-3:])
    one = torch.ones(ROWS, dtype=torch.float64)
    given |= {
        "stats": stats,
        "tile_lse": tile_lse,
        "kept": kept,
        "grad_logp": one,
        "grad_lse": None,
        "grad_entropy": one,
    }
    for needed in ((True, True, True), (True, False, False), (False, True, False)):
        needs = dict(zip(("need_hidden", "need_weight", "need_bias"), needed, strict=True))
        torch.library.opcheck(
            BACKWARD, arguments(BACKWARD, given | needs), test_utils=("test_schema", "test_faketensor")
        )
