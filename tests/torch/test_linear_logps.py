"""`linear_logps` against a dense float64 computation, on every way through it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

import poz
from poz._memory import bytes_of
from poz.families import SHAPES
from poz.torch._fused_objective import fused_objective
from poz.torch.head.linear_logps import linear_logps, linear_logps_plan
from poz.torch.head.logps import logps

HIDDEN, VOCABULARY = 24, 5003
ALL = ("logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")


@pytest.fixture
def narrow(monkeypatch):
    """Several tiles in a small vocabulary."""
    monkeypatch.setattr("poz.torch.head.tiles.WIDEST", 1024)


def problem(rows=200, hidden=HIDDEN, vocabulary=VOCABULARY, dtype=torch.float32, std=1.2, ignored=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(rows, hidden, generator=generator).to(dtype)
    w = (torch.randn(vocabulary, hidden, generator=generator) * std).to(dtype)
    t = torch.randint(0, vocabulary, (rows,), generator=generator)
    t[0], t[-1] = vocabulary - 1, 0
    if ignored and rows > 20:
        t[10:17] = -100
    return h, w, t


def dense(h, w, t, bias=None, temperature=1.0, logit_scale=1.0, softcap=None):
    z = h.double() @ w.double().T
    z = (z if bias is None else z + bias.double()) * logit_scale
    z = (z if softcap is None else softcap * torch.tanh(z / softcap)) / temperature
    logp = z.log_softmax(-1)
    valid = t != -100
    p = logp.exp()
    return {
        "logps": logp.gather(1, t.clamp(0)[:, None])[:, 0] * valid,
        "lse": z.logsumexp(-1) * valid,
        "entropy": -(p * logp).sum(-1) * valid,
        "log_sum_sq_probs": p.square().sum(-1).log() * valid,
        "mean_logit": z.mean(-1) * valid,
        "top1": z.argmax(-1) * valid,
    }


def leaves(*tensors, head=True):
    made = [tensor.detach().clone().requires_grad_(tensor.is_floating_point()) for tensor in tensors]
    if not head:
        for tensor in made[1:]:
            tensor.requires_grad_(False)
    return made


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("memory", ["1GiB", "2MiB"])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("outputs", [("logps",), ALL])
def test_agrees_with_dense_float64(head, memory, softcap, outputs):
    h, w, t = problem(vocabulary=2099, dtype=torch.float64)  # three tiles, the last one narrower
    b = torch.randn(2099, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    c, d = torch.randn(2, len(t), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    c[30:90] = 0
    options = {"temperature": 1.3, "logit_scale": 0.7, "softcap": softcap}
    ours, theirs = leaves(h, w, b, head=head), leaves(h, w, b, head=head)
    plan = linear_logps_plan(ours[0], ours[1], t, bias=ours[2], outputs=outputs, memory=memory, **options)
    assert plan.mode == ("one pass" if not head else "keep" if memory == "1GiB" else "recompute")
    assert (plan.block_rows < len(t)) == (memory != "1GiB")
    assert (plan.kept == 0) == (plan.mode == "recompute")
    got = linear_logps(ours[0], ours[1], t, bias=ours[2], outputs=outputs, memory=memory, **options)
    want = dense(theirs[0], theirs[1], t, theirs[2], **options)
    values = {"logps": got} if outputs == ("logps",) else got._asdict()
    for name in outputs:
        torch.testing.assert_close(values[name].double(), want[name].double(), rtol=1e-12, atol=1e-11, msg=name)
    for made in (values, want):
        (made["logps"] * c + (made["lse"] * d + made["entropy"] * d if len(outputs) > 1 else 0)).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        if other.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(("shape", "softcap"), [((90, 8, 2099), None), ((90, 8, 2099), 5.0), ((2100, 2, 50), None)])
def test_gradients_without_a_bias(shape, softcap, head):
    """Where nothing but a cap reads the logits again; the first and the last token are targets; more blocks than columns."""
    given = problem(*shape, torch.float64)
    ours, theirs = leaves(*given[:2], head=head), leaves(*given[:2], head=head)
    linear_logps(*ours, given[2], softcap=softcap).sum().backward()
    dense(*theirs, given[2], softcap=softcap)["logps"].sum().backward()
    for mine, other in list(zip(ours, theirs, strict=True))[: 1 + head]:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-11)


def test_a_statistic_that_has_no_gradient_says_so():
    h, w, t = problem(5, 4, 9)
    made = linear_logps(*leaves(h, w), t, outputs=ALL)._asdict()
    assert {name for name in ALL if made[name].requires_grad} == {"logps", "lse", "entropy"}


@pytest.mark.parametrize("rows", [1, 7, 65, 300])
@pytest.mark.parametrize(("hidden", "vocabulary"), [(1, 2), (5, 1), (17, 9001)])
def test_odd_sizes(rows, hidden, vocabulary):
    h, w, t = problem(rows, hidden, vocabulary)
    torch.testing.assert_close(linear_logps(h, w, t).double(), dense(h, w, t)["logps"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_bits_on_every_way_through(dtype):
    h, w, t = problem(1100, 16, 9000, dtype)  # two blocks of rows where memory allows for the largest, two tiles
    results = {}
    for memory in ("1GiB", "24MiB", "8MiB"):
        for head in (True, False):
            a, b = leaves(h, w, head=head)
            mode = linear_logps_plan(a, b, t, memory=memory)
            results[mode.mode, mode.block_rows] = linear_logps(a, b, t, memory=memory).detach()
        with torch.no_grad():
            results["forward", memory] = linear_logps(a, b, t, memory=memory)
    assert {"keep", "recompute", "one pass"} <= {mode for mode, _ in results}
    assert len({rows for _, rows in results if isinstance(rows, int)}) > 1
    results["rows"] = linear_logps(h, w, t, rows=(t != -100).nonzero().squeeze(1))
    results["part"] = torch.cat([linear_logps(h[:500], w, t[:500]), linear_logps(h[500:], w, t[500:])])
    first = results.popitem()[1]
    for key, value in results.items():
        assert torch.equal(value, first), key


@pytest.mark.usefixtures("narrow")
def test_keep_and_recompute_give_the_same_gradient():
    h, w, t = problem(300)
    gradients = []
    for memory in ("1GiB", "6MiB"):
        a, b = leaves(h, w)
        linear_logps(a, b, t, memory=memory).pow(2).sum().backward()
        gradients.append((a.grad, b.grad))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("narrow")
def test_not_a_number_stays_in_its_row():
    h, w, t = problem()
    h[40] = math.nan
    for memory in ("1GiB", "5MiB"):
        a, b = leaves(h, w)
        result = linear_logps(a, b, t, memory=memory)
        assert result.isnan().nonzero().flatten().tolist() == [40]
        result[torch.arange(len(t)) != 40].sum().backward()
        assert not a.grad.isnan().any()
        assert not b.grad.isnan().any()


def test_all_ignored():
    h, w, t = problem()
    for head in (True, False):
        a, b = leaves(h, w, head=head)
        result = linear_logps(a, b, torch.full_like(t, -100))
        assert not result.any()
        result.sum().backward()
        assert not a.grad.any()
        assert b.grad is None or not b.grad.any()


def test_ignored_rows_may_hold_anything():
    h, w, t = problem()
    h[12] = math.nan
    a, b = leaves(h, w)
    linear_logps(a, b, t).sum().backward()
    assert not a.grad.isnan().any()
    assert not b.grad.isnan().any()


@pytest.mark.usefixtures("narrow")
def test_masked_vocabulary():
    h, w, t = problem(ignored=False)
    bias = torch.zeros(VOCABULARY)
    bias[100:3900] = -math.inf
    t = t % 100
    a, b, c = leaves(h, w, bias)
    result = linear_logps(a, b, t, bias=c, outputs=("logps", "entropy"))
    torch.testing.assert_close(result.logps.double(), dense(h, w, t, bias)["logps"], rtol=1e-5, atol=1e-5)
    (result.logps + result.entropy).sum().backward()
    assert a.grad.isfinite().all()
    assert not b.grad[100:3900].any()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("memory", ["1GiB", "5MiB"])
@pytest.mark.parametrize("head", [True, False])
def test_a_masked_target(head, memory):
    """Its own log-prob is -inf; d logp = onehot - p, d lse = p and d entropy are as finite as those of the others."""
    h, w, t = problem(ignored=False)
    bias = torch.zeros(VOCABULARY)
    bias[100:3900] = -math.inf
    t[1:] = t[1:] % 100
    t[:1] = 2000
    outputs = ("logps", "lse", "entropy") if head else ("logps",)
    a, b, c = leaves(h, w, bias, head=head)
    found = linear_logps(a, b, t, bias=c, outputs=outputs, memory=memory)
    x, y, z = leaves(h.double(), w.double(), bias.double(), head=head)
    logits = x @ y.T + z
    logp = logits.log_softmax(1)
    expected = logp.gather(1, t[:, None])[:, 0]
    assert expected[0] == -math.inf
    if head:
        p = logp.exp()
        entropy = -(p * logp.masked_fill(p == 0, 0.0)).sum(1)
        torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-5, atol=1e-5)
        (found.logps + 0.5 * found.lse + 0.3 * found.entropy).sum().backward()
        (expected + 0.5 * logits.logsumexp(1) + 0.3 * entropy).sum().backward()
        found = found.logps
    else:
        found.sum().backward()
        expected.sum().backward()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert x.grad.isfinite().all()
    # float32 sums of 200 rows
    torch.testing.assert_close(a.grad.double(), x.grad, rtol=1e-4, atol=1e-4)
    if head:
        torch.testing.assert_close(b.grad.double(), y.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ignored", [VOCABULARY, 99_999, 7, -1])
def test_any_index_may_be_the_ignored_one(ignored):
    """Also one beyond the vocabulary, or one of its tokens."""
    h, w, t = problem(60)
    t[t == 7] = 8
    a, b = leaves(h, w)
    c, d = leaves(h, w)
    found, want = linear_logps(a, b, t.where(t != -100, ignored), ignore_index=ignored), linear_logps(c, d, t)
    assert torch.equal(found, want)
    found.sum().backward()
    want.sum().backward()
    assert torch.equal(a.grad, c.grad)
    assert torch.equal(b.grad, d.grad)


def test_the_mean_of_masked_logits():
    h, w, t = problem(9, ignored=False)
    bias = torch.zeros(VOCABULARY)
    bias[7] = -math.inf
    assert (linear_logps(h, w, t, bias=bias, outputs=("mean_logit",)).mean_logit == -math.inf).all()


def test_layouts_of_the_head():
    h, w, t = problem()
    want = linear_logps(h, w, t)
    wide = torch.randn(VOCABULARY, 2 * HIDDEN)
    wide[:, ::2] = w
    for layout in (w.T.contiguous().T, wide[:, ::2]):
        a, b = leaves(h, w)
        b = layout.detach().requires_grad_()
        result = linear_logps(a, b, t)
        torch.testing.assert_close(result, want, rtol=1e-5, atol=1e-5)
        result.sum().backward()
        assert b.grad.shape == w.shape


def test_tied_embeddings():
    _, w, t = problem()
    tokens = torch.randint(0, VOCABULARY, t.shape, generator=torch.Generator().manual_seed(3))
    (ours,), (theirs,) = leaves(w), leaves(w.double())
    linear_logps(ours[tokens], ours, t).sum().backward()
    dense(theirs[tokens], theirs, t)["logps"].sum().backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)


def peak_bytes(function):
    """Largest number of bytes alive at once beyond those alive before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        kept = function()
    alive = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    del kept
    return peak


@pytest.mark.parametrize("extra", [(), ("entropy",)])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("head", [True, False])
def test_the_smallest_memory_is_kept_to(extra, softcap, head):
    h, w, t = problem(512, 64, 4000, ignored=False)
    a, b = leaves(h, w, head=head)
    outputs = ("logps", *extra)
    with pytest.raises(ValueError, match="smallest") as caught:
        linear_logps(a, b, t, outputs=outputs, softcap=softcap, memory=1000)
    smallest = str(caught.value).split("'")[-2]

    def forward_and_backward():
        made = linear_logps(a, b, t, outputs=outputs, softcap=softcap, memory=smallest)
        (made.logps + made.entropy if extra else made).sum().backward()
        return made

    # without a gradient of the head, d logp / d hidden is stored beside the gradient that it becomes
    results = 4 * (512 * len(outputs) + h.numel() * (1 if head else 2) + (w.numel() if head else 0))
    assert 2**20 < peak_bytes(forward_and_backward) <= bytes_of(smallest) + results


@pytest.mark.parametrize("head", [True, False])
def test_memory_stays_within_the_limit(head):
    """Nor is there a tensor that more logits would make larger, whose numbers an int32 would not count."""
    rows, vocabulary, hidden = 4096, 16000, 32  # 250 MiB of logits
    h = torch.randn(rows, hidden).requires_grad_()
    w = (torch.randn(vocabulary, hidden) * 0.5).requires_grad_(head)
    t = torch.randint(0, vocabulary, (rows,))

    def forward_and_backward():
        result = linear_logps(h, w, t, memory="16MiB")
        result.sum().backward()
        return result

    outputs = 4 * (rows + h.numel() * (1 if head else 2) + (w.numel() if head else 0))
    peak = peak_bytes(forward_and_backward)
    assert peak > 2**22, "the profiler saw no memory"
    assert peak <= 2**24 + outputs


@given(
    rows=st.integers(1, 40_000),
    hidden=st.integers(1, 8192),
    vocabulary=st.integers(2, 300_000),
    block=st.integers(1, 64).map(lambda n: 64 * n),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_backward_pass_on_a_gpu_shares_out_what_the_forward_pass_had(rows, hidden, vocabulary, block, dtype):
    """Slabs of logits in float32 and in the head's dtype, float32 sums of the head, and three blocks of hidden states."""
    from poz.torch.head.triton_memory import backward_shape, workspace
    from poz.torch.head.work import Size

    weight = torch.empty(vocabulary, hidden, dtype=dtype, device="meta")
    height, width = backward_shape(rows, weight, block)
    assert height % 64 == 0
    assert 64 <= height <= rows + 63
    assert 1 <= width <= vocabulary
    assert width % 64 == 0 or width == vocabulary
    taken = height * width * (4 + weight.element_size()) + 4 * width * hidden + 12 * height * hidden
    assert taken <= workspace(Size(rows, weight, False, frozenset(), False), block)
    # as even as may be: a last block or tile of a few rows costs a whole pass
    assert height * -(-rows // height) <= rows + 64 * -(-rows // height)
    assert width * -(-vocabulary // width) <= vocabulary + 64 * -(-vocabulary // width)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("memory", ["1GiB", "6MiB"])
def test_policy_equal_to_reference(memory):
    h, w, t = problem(4 * 40, ignored=False)
    h, t = h.view(2, 2, 40, HIDDEN), t.view(2, 2, 40).clone()
    t[:, :, :7] = -100
    with torch.no_grad():
        reference = linear_logps(h, w, t).sum(-1)
    a, b = leaves(h, w)
    for head in (True, False):
        policy = linear_logps(a, b.requires_grad_(head), t, memory=memory).sum(-1)
        pairs = poz.Pairs(policy[0], policy[1], ref_chosen=reference[0], ref_rejected=reference[1])
        assert torch.equal(poz.dpo(pairs), torch.full((2,), math.log(2)))
    fields = {"ref_chosen": reference[0], "ref_rejected": reference[1]}
    looped = fused_objective(poz.dpo, a, b.requires_grad_(), t, fields=fields, memory=memory)
    assert torch.equal(looped.losses, torch.full((2,), math.log(2)))


def test_error_on_bfloat16_inputs():
    h, w, t = problem(512, 256, 8000, torch.bfloat16, std=6 / 16)
    c = torch.randn(len(t), generator=torch.Generator().manual_seed(5))
    exact = leaves(h.double(), w.double())
    want = dense(*exact, t)["logps"]
    (want * c).sum().backward()
    for head in (True, False):
        a, b = leaves(h, w, head=head)
        got = linear_logps(a, b, t)
        assert (got.double() - want).pow(2).mean().sqrt() <= 1e-5
        (got * c).sum().backward()
        for mine, truth in zip((a, b), exact, strict=True):
            if mine.grad is not None:
                rounding = (truth.grad.bfloat16().double() - truth.grad).norm()
                assert (mine.grad.double() - truth.grad).norm() <= 1.05 * rounding


def test_head_gradient_does_not_get_worse_with_more_chunks():
    h, w, t = problem(2000, 32, 600, torch.bfloat16, std=0.5)
    exact = leaves(h.double(), w.double())
    dense(*exact, t)["logps"].sum().backward()
    errors = []
    for memory in ("1GiB", "4MiB", "1300KiB"):
        a, b = leaves(h, w)
        linear_logps(a, b, t, memory=memory).sum().backward()
        errors.append((b.grad.double() - exact[1].grad).norm().item())
    assert max(errors) <= 1.01 * min(errors)


@pytest.mark.usefixtures("narrow")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own, in inductor
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_as_one_graph(backend):
    h, w, t = problem()

    def step(h, w):
        return linear_logps(h, w, t, outputs=("logps", "entropy"), memory="64MiB")

    a, b = leaves(h, w)
    c, d = leaves(h, w)
    ours, theirs = torch.compile(step, fullgraph=True, backend=backend)(a, b), step(c, d)
    assert torch.equal(ours.logps, theirs.logps)
    ours.logps.sum().backward()
    theirs.logps.sum().backward()
    torch.testing.assert_close(a.grad, c.grad)
    torch.testing.assert_close(b.grad, d.grad)


def test_a_compiled_step_takes_another_temperature():
    h, w, t = problem()
    compiled = torch.compile(
        lambda temperature: linear_logps(h, w, t, temperature=temperature), fullgraph=True, backend="aot_eager"
    )
    for temperature in (1.0, 0.7, 0.9):
        assert torch.equal(compiled(temperature), linear_logps(h, w, t, temperature=temperature))


@pytest.mark.usefixtures("narrow")
def test_under_checkpointing_and_autocast():
    h, w, t = problem()
    a, b = leaves(h, w)
    c, d = leaves(h, w)
    checkpoint(linear_logps, a, b, t, use_reentrant=False).sum().backward()
    linear_logps(c, d, t).sum().backward()
    assert torch.equal(a.grad, c.grad)
    assert torch.equal(b.grad, d.grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(linear_logps(h, w, t), linear_logps(h.bfloat16(), w.bfloat16(), t))


def test_no_second_derivative():
    h, w, t = problem()
    a, b = leaves(h, w)
    (gradient,) = torch.autograd.grad(linear_logps(a, b, t).sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


def test_backward_twice():
    h, w, t = problem()
    a, b = leaves(h, w)
    result = linear_logps(a, b, t).sum()
    first = torch.autograd.grad(result, (a, b), retain_graph=True)
    second = torch.autograd.grad(result, (a, b))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_fast_is_less_exact_and_close():
    h, w, t = problem(300, 64, 4000, torch.bfloat16, std=0.3)
    exact = dense(h, w, t)["logps"]
    a, b = leaves(h, w)
    result = linear_logps(a, b, t, precision="fast")
    result.sum().backward()
    error = (result.double() - exact).abs().max()
    assert 1e-4 < error < 0.2
    c, d = leaves(h, w)
    linear_logps(c, d, t).sum().backward()
    assert (b.grad - d.grad).norm() < 0.02 * d.grad.norm()


BAD = {
    "target too large": ({"targets": torch.tensor([0, 9, 1])}, ValueError, r"Targets must lie in \[0, 9\).*got 9"),
    "target negative": ({"targets": torch.tensor([0, -3, 1])}, ValueError, "got -3"),
    "shapes": ({"weight": torch.zeros(4, 9)}, ValueError, "weight.T costs nothing"),
    "target shape": ({"targets": torch.tensor([0, 1])}, ValueError, "`targets` must have the shape"),
    "target dtype": ({"targets": torch.tensor([0.0, 1.0, 2.0])}, TypeError, "int64"),
    "dtypes": ({"weight": torch.zeros(9, 4).bfloat16()}, TypeError, "torch.autocast"),
    "devices": ({"weight": torch.zeros(9, 4, device="meta")}, ValueError, "move one"),
    "bias": ({"bias": torch.zeros(8)}, ValueError, "`bias` must be"),
    "rows": ({"rows": torch.zeros(1, 1)}, ValueError, "`rows` must be"),
    "row too large": ({"rows": torch.tensor([0, 3])}, ValueError, r"`rows` must lie in \[0, 3\).*got 0 to 3"),
    "row negative": ({"rows": torch.tensor([-1, 2])}, ValueError, "got -1 to 2"),
    "no hidden size": ({"hidden": torch.zeros(3, 0), "weight": torch.zeros(9, 0)}, ValueError, "one hidden size"),
    "infinite temperature": ({"temperature": math.inf}, ValueError, "`temperature` must be positive and finite"),
    "logit scale": ({"logit_scale": math.nan}, ValueError, "`logit_scale` must be finite"),
    "softcap": ({"softcap": 0.0}, ValueError, "`softcap` must be positive"),
    "temperature": ({"temperature": 0.0}, ValueError, "`temperature` must be positive"),
    "precision": ({"precision": "quick"}, ValueError, "'exact' or 'fast'"),
    "outputs": ({"outputs": ("logits",)}, ValueError, "among logps"),
    "memory text": ({"memory": "much"}, ValueError, "must read like"),
    "memory": ({"memory": 64}, ValueError, "the smallest that works is"),
    "implementation": ({"implementation": "cuda"}, ValueError, "'auto', 'torch', 'triton'"),
    "lacking": ({"implementation": "triton"}, RuntimeError, "needs a GPU"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_a_sentence(name):
    change, kind, words = BAD[name]
    arguments = {"hidden": torch.zeros(3, 4), "weight": torch.zeros(9, 4), "targets": torch.tensor([0, 1, 2])}
    with pytest.raises(kind, match=words):
        linear_logps(**{**arguments, **change})


def test_smallest_memory_that_works_works():
    h, w, t = problem()
    with pytest.raises(ValueError, match="smallest") as caught:
        linear_logps(h, w, t, memory=1000)
    linear_logps(h, w, t, memory=str(caught.value).split("'")[-2])


def fields_of(objective, shape, generator):
    """What the objective reads beside the policy's log-probs; lengths and masks are filled in."""
    batch = shape[0] if objective.family is poz.Ranked else shape[1]
    made = {}
    for name in sorted(objective.reads | objective.optional):
        dims = SHAPES[objective.family][name][0]
        size = {"b": (batch,), "bt": shape[1:], "bu": shape[1:], "bk": shape[:2]}.get(dims)
        if name.startswith("opponents_"):
            size = (len(objective.values.get("weights") or (1.0,)), batch)
        if name == "scores":
            made[name] = torch.linspace(2.0, 0.0, shape[1]).expand(size)
        elif name in ("margin", "entropy", "label") or name.endswith(("_weights", "_collision", "_kl")):
            made[name] = torch.rand(size, generator=generator)
        elif name.startswith(("ref_", "opponents_")):
            made[name] = torch.randn(size, generator=generator)
        elif name.endswith("_changed"):
            made[name] = torch.rand(size, generator=generator) < 0.5
    return made


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("memory", ["1GiB", "2MiB"])
@pytest.mark.parametrize("name", [name for name in poz.zoo if poz.zoo[name].family is not poz.Rollouts])
def test_loss_in_the_loop_equals_the_objective(name, memory):
    objective = poz.zoo[name]
    loops = objective.family in (poz.Pairs, poz.TokenPairs, poz.Ranked) and not objective.coupled
    if "calibration" in objective.reads or not loops:
        with pytest.raises(ValueError, match="cannot be computed inside the loop"):
            fused_objective(
                objective, torch.zeros(2, 1, 1, 4), torch.zeros(3, 4), torch.zeros(2, 1, 1, dtype=torch.int64)
            )
        return
    batch, lists = 5, objective.family is poz.Ranked
    shape = (batch, 4 if name == "mapl" else 3, 9) if lists else (2, batch, 9)
    h, w, t = problem(math.prod(shape), vocabulary=1001, ignored=False)
    h, t = h.view(*shape, HIDDEN), t.view(shape).clone()
    t[..., :3] = -100
    fields = fields_of(objective, shape, torch.Generator().manual_seed(7))
    weights = torch.rand(batch, generator=torch.Generator().manual_seed(8))
    a, b = leaves(h, w)
    looped = fused_objective(objective, a, b, t, fields=fields, example_weights=weights, memory=memory)
    (2 * looped.loss).backward()
    c, d = leaves(h, w)
    tokens = linear_logps(c, d, t)
    mask = t != -100
    lengths = mask.sum(-1).float()
    if lists:
        made = poz.Ranked(tokens.sum(-1), lengths=lengths, **fields)
    elif objective.family is poz.TokenPairs:
        made = poz.TokenPairs(tokens[0], tokens[1], chosen_mask=mask[0], rejected_mask=mask[1], **fields)
    else:
        sums = tokens.sum(-1)
        made = poz.Pairs(sums[0], sums[1], chosen_len=lengths[0], rejected_len=lengths[1], **fields)
    losses = objective(made)
    (2 * (losses * weights).sum()).backward()
    torch.testing.assert_close(looped.losses, losses.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(looped.logps, tokens.detach().sum(-1), rtol=0, atol=0)
    for mine, other in ((a, c), (b, d)):
        scale = other.grad.abs().max().item()
        tiny = torch.finfo(torch.float32).tiny  # below, digits go
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=max(1e-5 * scale, tiny))


def test_batch_coupled_objectives_are_refused():
    with pytest.raises(
        ValueError, match=r"`aot` cannot be computed inside the loop: it is defined over the whole batch \("
    ):
        fused_objective(poz.aot, torch.zeros(2, 1, 1, 4), torch.zeros(3, 4), torch.zeros(2, 1, 1, dtype=torch.int64))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_selective_logps(inplace, dtype):
    z = (torch.randn(40, 777, generator=torch.Generator().manual_seed(0)) * 6).to(dtype)
    t = torch.randint(0, 777, (40,))
    t[3] = -100
    (exact,) = leaves(z.double())
    want = (exact / 1.5).log_softmax(-1).gather(1, t.clamp(0)[:, None])[:, 0] * (t != -100)
    (leaf,) = leaves(z)
    got = logps(leaf * 1, t, temperature=1.5, inplace=inplace)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=5e-6)
    weights = torch.linspace(-1, 1, 40)
    (got * weights).sum().backward()
    (want * weights).sum().backward()
    tolerance = {"rtol": 1e-2, "atol": 1e-6} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-7}
    torch.testing.assert_close(leaf.grad.double(), exact.grad, **tolerance)


def test_confident_token_keeps_its_gradient():
    h = torch.tensor([[1.0]])
    w = torch.tensor([[25.0], [0.0]])
    a, b = leaves(h, w)
    result = linear_logps(a, b, torch.tensor([0]))
    result.sum().backward()
    want = -np.log1p(np.exp(-25.0))
    assert result.item() == pytest.approx(want, rel=1e-5)
    assert a.grad.item() == pytest.approx(25 * -np.expm1(want), rel=1e-5)
