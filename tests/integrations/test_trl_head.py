"""poz's log-probs under TRL's own trainers: the same numbers, nearer to float64, and gone when they are taken away."""

import pytest
import torch
import trl.trainer.utils as utils
from trl.kernels import ChunkedLogProbFunction

from poz.integrations.trl import install, uninstall
from poz.integrations.trl.head import NAMES, Head, installed

ROWS, WIDTH, VOCABULARY = 33, 24, 301


@pytest.fixture(autouse=True)
def _clean():
    uninstall()
    yield
    uninstall()


def inputs(dtype, seed=0):
    """Peaked logits: standard deviation about 6."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(ROWS, WIDTH, generator=generator).to(dtype)
    weight = (torch.randn(VOCABULARY, WIDTH, generator=generator) * 6 / WIDTH**0.5).to(dtype)
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    targets[::2] = (hidden.float() @ weight.float().T).argmax(1)[::2]
    return hidden, weight, targets


@pytest.mark.parametrize("softcap", [None, 8.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_every_output_is_trls(softcap, with_bias):
    """In float32, where TRL rounds nothing: values, and gradients through log-probs and entropy."""
    hidden, weight, targets = inputs(torch.float32)
    bias = torch.linspace(-1, 1, VOCABULARY) if with_bias else None
    found = []
    for function in (ChunkedLogProbFunction, Head()):
        leaves = [x.clone().requires_grad_() for x in (hidden, weight, *([bias] if with_bias else []))]
        out = function.apply(
            *leaves[:2], leaves[2] if with_bias else None, targets, 0.7, 128, softcap, 1.3, tuple(NAMES)
        )
        slopes = torch.autograd.grad((out[0] * torch.linspace(-1, 1, ROWS) + 0.1 * out[1]).sum(), leaves)
        found.append([*out, *slopes])
    for theirs, ours in zip(*found, strict=True):
        # Two float32 ways to the same sum of 301 terms of size up to 20.
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5) if ours.is_floating_point() else None
        assert ours.dtype == theirs.dtype
        assert ours.is_floating_point() or torch.equal(ours, theirs)


def test_bf16_log_probs_and_gradients_are_nearer_to_float64_than_trls():
    hidden, weight, targets = inputs(torch.bfloat16)
    exact = [x.double().requires_grad_() for x in (hidden, weight)]
    truth = torch.log_softmax(exact[0] @ exact[1].T, -1).gather(1, targets[:, None]).squeeze(1)
    slopes = torch.autograd.grad(truth.sum(), exact)
    errors = []
    for function in (ChunkedLogProbFunction, Head()):
        leaves = [x.clone().requires_grad_() for x in (hidden, weight)]
        out = function.apply(*leaves, None, targets, 1.0, 128, None, 1.0, ())
        made = torch.autograd.grad(out[0].sum(), leaves)
        errors.append([(a - b).norm().item() for a, b in zip((out[0], *made), (truth, *slopes), strict=True)])
    theirs, ours = errors
    assert ours[0] < 1e-3 * theirs[0], "log-probs: no rounding of logits to bf16"
    assert all(a <= b for a, b in zip(ours[1:], theirs[1:], strict=True)), "gradients"


def test_install_and_uninstall():
    theirs = utils._ChunkedLogProbFunction, utils._use_triton
    install(memory="256MiB")
    install()
    assert isinstance(utils._ChunkedLogProbFunction, Head)
    with installed():
        assert isinstance(utils._ChunkedLogProbFunction, Head)
    assert isinstance(utils._ChunkedLogProbFunction, Head)
    uninstall()
    uninstall()
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == theirs
    with pytest.raises(ZeroDivisionError), installed():
        raise ZeroDivisionError
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == theirs


class TestNested:
    def test_uninstall_within_a_block_lasts(self):
        own = utils._use_triton
        install()
        with installed():
            uninstall()
            assert utils._ChunkedLogProbFunction is ChunkedLogProbFunction
        assert (utils._ChunkedLogProbFunction, utils._use_triton) == (ChunkedLogProbFunction, own)
        uninstall()
        assert (utils._ChunkedLogProbFunction, utils._use_triton) == (ChunkedLogProbFunction, own)

    def test_install_within_a_block_lasts(self):
        own = utils._use_triton
        with installed():
            install(memory="2MiB")
        assert utils._ChunkedLogProbFunction.settings["memory"] == "2MiB"
        assert utils._use_triton is not own
        uninstall()
        assert (utils._ChunkedLogProbFunction, utils._use_triton) == (ChunkedLogProbFunction, own)

    def test_a_block_within_a_block(self):
        own = utils._use_triton
        with installed(memory="2MiB") as outer:
            with installed() as same:
                assert utils._ChunkedLogProbFunction is same is outer
            with installed(precision="fast") as inner:
                assert utils._ChunkedLogProbFunction is inner is not outer
            assert utils._ChunkedLogProbFunction is outer
        assert (utils._ChunkedLogProbFunction, utils._use_triton) == (ChunkedLogProbFunction, own)


def test_a_partitioned_head_is_refused():
    hidden, weight, targets = inputs(torch.float32)
    weight.ds_id = 0
    with pytest.raises(RuntimeError, match="ZeRO-3 has partitioned"):
        Head().apply(hidden, weight, None, targets, 1.0, 128)
