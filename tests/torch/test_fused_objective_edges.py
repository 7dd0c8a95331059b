"""`fused_objective` and `logps` at their edges: no tokens, no numbers, no second derivative, 16 bits, autocast."""

import dataclasses
import math
import weakref

import pytest
import torch

import poz
from poz.torch import fused_objective, linear_logps, logps

HIDDEN, VOCABULARY = 16, 301


def problem(shape, dtype=torch.float32, hidden=HIDDEN, vocabulary=VOCABULARY, std=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(*shape, hidden, generator=generator).to(dtype)
    w = (torch.randn(vocabulary, hidden, generator=generator) * std).to(dtype)
    b = torch.randn(vocabulary, generator=generator).to(dtype)
    t = torch.randint(0, vocabulary, shape, generator=generator)
    t[..., :2] = -100
    return h, w, b, t


def leaves(*tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def reference(batch, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(batch, generator=generator, dtype=dtype) for name in ("ref_chosen", "ref_rejected")}


# Ignored rows


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ignored_rows_of_logits_may_hold_anything(dtype, fill, inplace):
    z = torch.randn(6, 11, generator=torch.Generator().manual_seed(0)).to(dtype)
    t = torch.tensor([3, -100, 0, -100, 10, 5])
    clean = z.clone()
    z[1] = fill
    z[3, 4] = fill
    results = []
    for values in (z, clean):
        (leaf,) = leaves(values)
        made = logps(leaf * 1, t, inplace=inplace)
        (made * torch.linspace(1, 2, 6)).sum().backward()
        results.append((made.detach(), leaf.grad))
    (made, gradient), (want, want_gradient) = results
    assert made[[1, 3]].tolist() == [0.0, 0.0]
    assert not gradient[[1, 3]].any()
    # A row's numbers come from that row alone, so the bits are those of a call without the odd rows.
    assert torch.equal(made, want)
    assert torch.equal(gradient, want_gradient)
    assert want_gradient[[0, 2, 4, 5]].any(1).all()


def test_logits_in_blocks_of_rows_give_the_same_bits(monkeypatch):
    z = torch.randn(7, 11, generator=torch.Generator().manual_seed(0))
    whole, blocks = leaves(z, z)
    made = [logps(whole, torch.arange(7))]
    monkeypatch.setattr("poz.torch.head.logps.BLOCK", 22)  # two rows at a time, and one
    made.append(logps(blocks, torch.arange(7)))
    made[1].sum().backward()
    monkeypatch.undo()
    made[0].sum().backward()
    assert torch.equal(*made)
    assert torch.equal(whole.grad, blocks.grad)
    assert whole.grad.any(1).all()


def test_what_comes_back_to_ignored_rows_does_not_matter():
    (leaf,) = leaves(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
    logps(leaf, torch.tensor([1, -100, 2])).backward(torch.tensor([1.0, math.nan, 1.0]))
    assert not leaf.grad[1].any()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_results_of_logps_may_be_changed_in_place(dtype):
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    a, b = leaves(z, z)
    t = torch.tensor([1, -100, 2])
    logps(a, t).mul_(2).sum().backward()
    logps(b, t).sum().backward()
    assert torch.equal(a.grad, 2 * b.grad)  # a factor of 2 is exact


# Second derivatives


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("upstream", ["constant", "of the result"])
def test_logps_has_no_second_derivative(upstream, inplace):
    (leaf,) = leaves(torch.randn(4, 7, generator=torch.Generator().manual_seed(0)))
    t = torch.tensor([0, 6, -100, 3])
    (plain,) = torch.autograd.grad(logps(leaf * 1, t, inplace=inplace).sum(), leaf)
    made = logps(leaf * 1, t, inplace=inplace)
    total = made.sum() if upstream == "constant" else made.square().sum() / 2
    (gradient,) = torch.autograd.grad(total, leaf, create_graph=True)
    assert gradient.requires_grad
    if upstream == "constant":
        assert torch.equal(gradient.detach(), plain)
    again = gradient.square().sum() + 0 * leaf.sum()
    with pytest.raises(RuntimeError, match=r"poz\.torch\.logps has no second derivative.*log_softmax"):
        torch.autograd.grad(again, leaf, retain_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        again.backward()


@pytest.mark.parametrize("upstream", ["constant", "of the result"])
@pytest.mark.parametrize("learned", [0, 1, 2], ids=["hidden", "weight", "bias"])
def test_fused_objective_has_no_second_derivative(learned, upstream):
    *inputs, t = problem((2, 3, 5))
    inputs[learned].requires_grad_()
    leaf = inputs[learned]

    def loss():
        made = fused_objective(poz.dpo, *inputs[:2], t, bias=inputs[2], fields=reference(3)).loss
        return made if upstream == "constant" else made.square()

    (plain,) = torch.autograd.grad(loss(), leaf)
    (gradient,) = torch.autograd.grad(loss(), leaf, create_graph=True)
    assert gradient.requires_grad
    assert torch.equal(gradient.detach(), plain)
    assert plain.any()
    again = gradient.square().sum() + 0 * leaf.sum()
    with pytest.raises(RuntimeError, match=r"fused_objective has no second derivative.*log_softmax"):
        torch.autograd.grad(again, leaf, retain_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        again.backward()


@pytest.mark.parametrize("name", ["logps", "fused_objective"])
def test_a_factor_that_is_learned_has_no_second_derivative_either(name):
    h, w, _, t = problem((2, 3, 5))
    a, factor = leaves(h, torch.tensor(2.0))
    total = logps(a, t % HIDDEN).sum() if name == "logps" else None
    if total is None:
        total = fused_objective(poz.dpo, a, w, t, fields=reference(3)).loss
    (gradient,) = torch.autograd.grad(factor * total, a, create_graph=True)
    with pytest.raises(RuntimeError, match=rf"poz\.torch\.{name} has no second derivative"):
        torch.autograd.grad(gradient.sum(), factor)


def test_logits_that_were_written_over_give_no_second_gradient():
    (leaf,) = leaves(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
    total = logps(leaf * 1, torch.tensor([1, -100, 2]), inplace=True).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="overwritten by inplace=True; call"):
        total.backward()


def test_gradients_made_with_a_graph_may_be_changed_in_place():
    h, w, _, t = problem((2, 3, 5))
    a, b = leaves(h, w)
    for gradient in (
        *torch.autograd.grad(fused_objective(poz.dpo, a, b, t, fields=reference(3)).loss, (a, b), create_graph=True),
        *torch.autograd.grad(logps(a, t % HIDDEN).sum(), a, create_graph=True),
    ):
        want = 2 * gradient.detach()
        assert torch.equal(gradient.mul_(2).detach(), want)


def test_hidden_states_are_not_held_for_the_backward_pass():
    h, w, _, t = problem((2, 3, 5))
    a, b = leaves(h, w)
    hidden = a + 0
    alive = weakref.ref(hidden)
    loss = fused_objective(poz.dpo, hidden, b, t, fields=reference(3)).loss
    del hidden
    assert alive() is None
    loss.backward()
    assert a.grad.any()


# 16 bits


def dense_loss(h, w, b, t, fields, temperature=1.0):
    logp = ((h @ w.T + b) / temperature).log_softmax(-1)
    chosen, rejected = (logp.gather(-1, t.clamp(0).unsqueeze(-1)).squeeze(-1) * (t != -100)).sum(-1)
    return poz.dpo(poz.Pairs(chosen, rejected, **fields)).mean()


@pytest.mark.parametrize("memory", ["1GiB", "4MiB", "2MiB"])  # all kept, kept pair by pair, made again
@pytest.mark.parametrize("factor", [1.0, 1 / 3, 0.7])
def test_gradients_of_16_bit_inputs_are_rounded_once(factor, memory):
    *inputs, t = problem((2, 8, 40), torch.bfloat16, hidden=48, vocabulary=2000)
    exact = leaves(*(tensor.double() for tensor in inputs))
    fields = reference(8, torch.float64)
    (dense_loss(*exact, t, fields) * factor).backward()
    ours = leaves(*inputs)
    floats = {name: value.float() for name, value in fields.items()}
    made = fused_objective(poz.dpo, *ours[:2], t, bias=ours[2], fields=floats, memory=memory)
    (made.loss * factor).backward()
    for mine, truth in zip(ours, exact, strict=True):
        assert mine.grad.dtype == torch.bfloat16
        rounding = (truth.grad.bfloat16().double() - truth.grad).norm()
        # Rounded once is 1; float32 sums in front of it change which way a few numbers fall. Rounded twice is 1.38.
        assert (mine.grad.double() - truth.grad).norm() <= 1.05 * rounding


def test_loss_scaling_comes_before_float16():
    """Gradients below the smallest float16 are there when the loss is scaled up for their sake."""
    *inputs, t = problem((2, 8, 40), torch.float16)
    exact = leaves(*(tensor.double() for tensor in inputs))
    fields = reference(8, torch.float64)
    dense_loss(*exact, t, fields).backward()
    ours = leaves(*inputs)
    floats = {name: value.float() for name, value in fields.items()}
    down, up = 2.0**-20, 2.0**20
    weights = torch.full((8,), down / 8)
    loss = fused_objective(poz.dpo, *ours[:2], t, bias=ours[2], fields=floats, example_weights=weights).loss
    (loss * up).backward()
    for mine, truth in zip(ours, exact, strict=True):
        assert (truth.grad * down).abs().max() < 2**-14  # where float16 begins to lose digits
        rounding = (truth.grad.half().double() - truth.grad).norm()
        # As above: once rounded is 1.
        assert (mine.grad.double() - truth.grad).norm() <= 1.05 * rounding


def test_held_gradients_are_handed_over_once():
    h, w, _, t = problem((2, 3, 5), torch.bfloat16)
    a, b = leaves(h, w)
    loss = fused_objective(poz.dpo, a, b, t, fields=reference(3)).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="holds its gradients once"):
        loss.backward()


def test_no_gradients_are_made_where_none_is_recorded():
    h, w, _, t = problem((2, 64, 8))
    a, b = leaves(h, w)
    made = [fused_objective(poz.dpo, a, b, t, fields=reference(64))]
    with (
        torch.no_grad(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile,
    ):
        made.append(fused_objective(poz.dpo, a, b, t, fields=reference(64)))
    assert torch.equal(made[0].losses, made[1].losses)
    assert not made[1].loss.requires_grad
    # One product over the vocabulary for each tile, and none for the gradients of hidden and head.
    products = sum(event.count for event in profile.key_averages() if event.key in ("aten::mm", "aten::addmm"))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        fused_objective(poz.dpo, h, w, t, fields=reference(64))
    assert products == sum(e.count for e in profile.key_averages() if e.key in ("aten::mm", "aten::addmm")) > 0


# Autocast


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_is_followed_as_linear_logps_follows_it(dtype):
    h, w, b, t = problem((2, 3, 9))
    w = w.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            before = linear_logps(h, w, t, bias=b).sum(-1)
        fields = {"ref_chosen": before[0], "ref_rejected": before[1]}
        ours = leaves(h, w, b)
        made = fused_objective(poz.dpo, *ours[:2], t, bias=ours[2], fields=fields)
    # Policy and reference are the same to the bit, so the margin is 0.
    assert torch.equal(made.losses, torch.full((3,), math.log(2)))
    made.loss.backward()
    cast = leaves(*(tensor.bfloat16() for tensor in (h, w, b)))
    plain = fused_objective(poz.dpo, *cast[:2], t, bias=cast[2], fields=fields)
    plain.loss.backward()
    assert torch.equal(made.logps, plain.logps)
    for mine, other, given in zip(ours, cast, (h, w, b), strict=True):
        # The products are those of the cast tensors: the same bits, on their way through a cast that loses none.
        assert mine.grad.dtype == given.dtype
        assert torch.equal(mine.grad, other.grad.to(given.dtype))
    exact = linear_logps(h, w.float(), t, bias=b).sum(-1)
    assert not torch.equal(exact, before)


def test_the_objective_itself_is_not_computed_in_16_bits():
    def multiplied(xp, pairs, **_):
        return torch.stack((pairs.rejected, pairs.chosen), 1) @ torch.tensor([1.0, -1.0])

    product = dataclasses.replace(poz.slic_hf, function=multiplied, _required=("chosen", "rejected"))
    h, w, _, t = problem((2, 3, 9))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = fused_objective(product, h, w, t)
    # Products with 1 and -1 are exact, so that one difference is all that is rounded.
    assert torch.equal(made.losses, made.logps[1] - made.logps[0])


def test_autocast_leaves_float64_alone():
    h, w, _, t = problem((2, 3, 9), torch.float64)
    results = []
    for enabled in (True, False):
        a, b = leaves(h, w)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            made = fused_objective(poz.dpo, a, b, t, fields=reference(3, torch.float64))
        made.loss.backward()
        assert made.logps.dtype == a.grad.dtype == torch.float64
        results.append((made.logps, a.grad, b.grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


# Nothing there


def tokens_or_none(objective, tokens, grad, memory):
    lists = objective.family is poz.Ranked
    shape = (4, 3, tokens) if lists else (2, 3, tokens)
    h, w, b, t = problem(shape)
    t[...] = -100
    inputs = leaves(h, w, b)
    for tensor in inputs:
        tensor.requires_grad_(grad)
    fields = {"scores": torch.tensor([2.0, 1.0, 0.0]).expand(4, 3)} if lists else reference(3)
    if objective.family is poz.TokenPairs:
        fields = {name: torch.zeros(shape[1:]) for name in ("ref_chosen", "ref_rejected")}
        fields.update({name: torch.zeros(shape[1:]) for name in sorted(objective.reads) if name.endswith("_kl")})
    fields = {name: value for name, value in fields.items() if name in objective.reads}
    made = fused_objective(objective, *inputs[:2], t, bias=inputs[2], fields=fields, memory=memory)
    if grad:
        made.loss.backward()
    return made, inputs


@pytest.mark.parametrize("memory", ["1GiB", "200KiB"])  # kept, made again
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", ["dpo", "cpo", "tdpo", "cpl_ranking"])
def test_no_tokens_is_as_all_ignored(name, grad, memory):
    objective = poz.zoo[name]
    none, inputs = tokens_or_none(objective, 0, grad, memory)
    ignored, _ = tokens_or_none(objective, 1, grad, memory)
    assert none.logps.shape == ignored.logps.shape
    assert not none.logps.any()
    assert torch.equal(none.losses, ignored.losses)
    assert torch.equal(none.loss, ignored.loss)
    assert none.losses.isfinite().all()
    for tensor in inputs if grad else ():
        assert tensor.grad.shape == tensor.shape
        assert not tensor.grad.any()


def test_no_examples_is_a_loss_of_zero():
    h, w, _, t = problem((2, 0, 5))
    a, b = leaves(h, w)
    made = fused_objective(poz.dpo, a, b, t, fields=reference(0))
    made.loss.backward()
    assert made.loss == 0
    assert made.losses.shape == (0,)
    assert not b.grad.any()


BAD = {
    "infinite": ({"temperature": math.inf}, ValueError, r"`temperature` must be positive and finite; got inf\. Leave"),
    "nan": ({"temperature": math.nan}, ValueError, r"`temperature` must be positive and finite; got nan\. Leave"),
    "zero": ({"temperature": 0.0}, ValueError, "`temperature` must be positive and finite; got 0.0"),
    "negative": ({"temperature": -1.0}, ValueError, "`temperature` must be positive and finite; got -1.0"),
    "integers": ({"logits": torch.zeros(3, 4, dtype=torch.int64)}, TypeError, r"float dtype; got torch.int64.*\.float"),
    "no vocabulary": ({"logits": torch.zeros(3, 0)}, ValueError, r"at least one token; got \(3, 0\)"),
    "a number": ({"logits": torch.zeros(()), "targets": torch.tensor(0)}, ValueError, r"must be \(\.\.\., V\)"),
    "target too large": ({"targets": torch.tensor([0, 4, 1])}, ValueError, r"Targets must lie in \[0, 4\).*got 4"),
    "negative target": ({"targets": torch.tensor([0, -1, 1])}, ValueError, r"Targets must lie in \[0, 4\).*got -1"),
    "fewer targets": ({"targets": torch.tensor([0, 1])}, ValueError, r"int64 of shape \(3,\); got .* of \(2,\)"),
    "narrow targets": (
        {"targets": torch.tensor([0, 1, 2]).int()},
        ValueError,
        r"int64 of shape \(3,\); got torch.int32",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_to_logps_raises_a_sentence(name):
    change, kind, words = BAD[name]
    arguments = {"logits": torch.zeros(3, 4), "targets": torch.tensor([0, 1, 2])}
    assert logps(**arguments).shape == (3,)
    with pytest.raises(kind, match=words):
        logps(**{**arguments, **change})
