"""Every objective on every backend against the float64 reference, with drawn inputs and hyper-parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
import poz.torch
from poz.families import SHAPES
from poz.testing import conform, draw_case
from poz.testing.runners import log_prob_fields

# Compilers take most of their time, so they get few; `poz verify --cases` draws more.
CASES = {"numpy": 4, "torch": 4, "torch.compile": 1, "jax": 1}


def separate(objective):
    """No example has a say in another's loss; the KL samples of unpaired objectives are none of the examples."""
    return not objective.coupled or objective.family is poz.Unpaired


SEPARATE = [name for name, spec in poz.zoo.items() if separate(spec)]


def draw_separate(name, seed, examples):
    rng = np.random.default_rng(seed)
    return next(case for _ in range(9) if separate((case := draw_case(poz.zoo[name], rng, examples, 30.0)).objective))


def jax_batch(batch):
    return type(batch)(*[None if x is None else jnp.asarray(x) for x in batch])


@pytest.mark.parametrize("name", poz.zoo)
@pytest.mark.parametrize("backend", CASES)
def test_float64_equals_the_reference(name, backend):
    result = conform(name, backend=backend, cases=CASES[backend])
    assert result.passed, result


# XLA takes half a second for each: in float32 a third of them, in float64 all.
@pytest.mark.parametrize(
    ("backend", "name"), [("torch", name) for name in poz.zoo] + [("jax", name) for name in [*poz.zoo][::3]]
)
def test_float32_equals_the_reference(name, backend):
    result = conform(name, backend=backend, dtype="float32", cases=(CASES[backend] + 1) // 2, seed=1)
    assert result.passed, result


BOUND = {
    "inpo": poz.inpo.bind(eta=1.0),
    "mnpo": poz.mnpo.bind(eta=1.0, weights=(0.1,) * 5),
    "lcpo": poz.lcpo.bind(reliability=np.array([0.8, 0.6])),
    "lcpo over mnpo": poz.lcpo.bind(base=poz.mnpo.bind(eta=1.0, tau=0.1, weights=(0.1,) * 5)),
}


@pytest.mark.parametrize("which", BOUND)
def test_a_bound_objective_gets_inputs_that_suit_it(which):
    result = conform(BOUND[which], backend="torch", cases=10)
    assert result.passed, result


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_a_candidate_that_averages_is_told_so(backend):
    result = conform("dpo", lambda pairs, **values: poz.dpo(pairs, **values).mean(), backend=backend, cases=1)
    assert not result.passed
    assert "one loss per example is required, shape (12,); got shape ()" in result.problem


@pytest.mark.parametrize("name", SEPARATE)
def test_vmap_over_examples_equals_the_batch(name):
    """One example at a time, without the batch dimension, under jax.vmap and jit."""
    case = draw_separate(name, 3, 5)
    dims = {f: shape for f, (shape, _) in SHAPES[type(case.batch)].items()}
    axes = {f: dims[f].index("b") if "b" in dims[f] else None for f in case.batch._fields}
    with jax.enable_x64(True):
        batch = jax_batch(case.batch)
        in_axes = type(batch)(**{f: None if getattr(batch, f) is None else axes[f] for f in batch._fields})
        whole = jax.vmap(case.objective, in_axes=(in_axes,))
        # traced as any; XLA compiles it in half of the time
        one_by_one = jax.jit(whole, compiler_options={"xla_cpu_use_fusion_emitters": False})(batch)
    # The same arithmetic, fused differently by the compiler.
    np.testing.assert_allclose(one_by_one, case.objective(case.batch), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", poz.zoo)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, dtype):
    case = draw_case(poz.zoo[name], np.random.default_rng(4), 5, 30.0)
    half = type(case.batch)(
        *[None if x is None else torch.tensor(x, dtype=dtype if x.dtype.kind == "f" else None) for x in case.batch]
    )
    full = type(half)(*[x.float() if x is not None and x.is_floating_point() else x for x in half])
    losses = case.objective(half)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, case.objective(full), rtol=0, atol=0)


@pytest.mark.parametrize("name", SEPARATE)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_stay_in_their_example(name, poison):
    """In values and in gradients; NaN comes out where NaN goes in. Calibration samples are shared by all pairs."""
    case = draw_separate(name, 6, 6)
    clean = {f: torch.tensor(x) for f, x in case.batch._asdict().items() if x is not None}
    first = log_prob_fields(case.objective, case.batch)[0]
    for field, x in clean.items():
        shared = "b" not in SHAPES[type(case.batch)][field][0]
        if not x.is_floating_point() or shared or field in ("label", "scores", "winrates"):
            continue
        if field.endswith("weights") and poison < 0:
            continue  # refused
        at = (slice(None), 2) if field.startswith("opponents") else (2, *[0] * (x.ndim - 1))
        given = {
            f: (v.clone().index_put_([torch.tensor(2)], torch.tensor(True)) if v.dtype == torch.bool else v.clone())
            for f, v in clean.items()
        }
        given[field][at] = poison
        given[first].requires_grad_()
        losses = case.objective(type(case.batch)(**given))
        (slope,) = torch.autograd.grad(losses.sum(), given[first])
        others = torch.arange(len(losses)) != 2
        assert torch.isfinite(losses[others]).all(), field
        assert torch.isfinite(slope[others]).all(), field
        if np.isnan(poison) and field == first:
            assert torch.isnan(losses[2])


def test_numpy_hyper_parameters_leave_the_dtype_alone():
    pairs = poz.Pairs(*[np.zeros(2, np.float32)] * 4)
    assert poz.dpo(pairs, beta=np.float64(0.1)).dtype == np.float32


def test_compiled_calls_take_another_beta():
    """Whole graphs, from the first number to the second, which torch.compile then treats as a symbol."""
    compiled = torch.compile(lambda p, beta: poz.dpo(p, beta=beta), fullgraph=True, backend="aot_eager")
    pairs = poz.Pairs(*[torch.full((2,), -float(k)) for k in (1, 2, 3, 5)])
    for beta in (0.1, 0.2, 0.7):
        torch.testing.assert_close(compiled(pairs, beta), poz.dpo(pairs, beta=beta))


def test_a_bound_tensor_is_learned_in_a_compiled_call():
    beta = torch.tensor(0.3, requires_grad=True)
    pairs = poz.Pairs(*[torch.full((2,), -float(k)) for k in (1, 3, 2, 3)])
    learned = poz.dpo.bind(beta=beta)
    compiled = torch.compile(lambda p: learned(p).sum(), fullgraph=True, backend="aot_eager")
    # L = -log σ(β), as the log-ratio margin is 1; dL/dβ = -σ(-β), of two pairs
    (slope,) = torch.autograd.grad(compiled(pairs), beta)
    torch.testing.assert_close(slope, -2 * torch.sigmoid(-beta.detach()))


BETA = torch.tensor(0.3, requires_grad=True)
DEEP = {
    "a base in the call": lambda p: poz.lcpo(p, base=poz.ipo),
    "a tensor in a base": poz.lcpo.bind(base=poz.dpo.bind(beta=BETA)),
    "a tensor in a part": poz.combine([(poz.dpo.bind(beta=BETA), 1.0), ("ipo", 0.1)]),
    "a tensor as a weight": poz.combine([("dpo", BETA), ("ipo", 0.1)]),
    "a tensor in a tuple": poz.mnpo.bind(weights=(BETA, 0.5)),
}


@pytest.mark.parametrize("case", DEEP)
def test_what_no_graph_takes_as_an_argument_is_compiled_all_the_same(case):
    generator = np.random.default_rng(5)
    sums = [torch.tensor(-generator.exponential(9, 4), dtype=torch.float32) for _ in range(4)]
    others = {"opponents_chosen": torch.stack(sums[:2]), "opponents_rejected": torch.stack(sums[2:])}
    pairs, this = poz.Pairs(*sums, **others), DEEP[case]
    compiled = torch.compile(lambda p: this(p), backend="aot_eager")
    torch.testing.assert_close(compiled(pairs), this(pairs))
    if "tensor" in case:
        found, expected = (torch.autograd.grad(call(pairs).sum(), BETA)[0] for call in (compiled, this))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_of_lcpo_compiles(training):
    generator = np.random.default_rng(6)
    pairs = poz.Pairs(*[torch.tensor(-generator.exponential(9, 4), dtype=torch.float32) for _ in range(4)])
    modules = [poz.torch.LCPO(poz.dpo.bind(beta=0.3)).train(training) for _ in range(2)]
    torch.testing.assert_close(torch.compile(modules[0], backend="aot_eager")(pairs), modules[1](pairs))
    for module in modules:
        module.step()
    torch.testing.assert_close(modules[0].reliability, modules[1].reliability)
    assert (modules[0].reliability == 0.9).all() != training


def test_weights_may_be_arrays_and_traced():
    generator = np.random.default_rng(7)
    sums, others = -generator.exponential(2, (4, 5)), -generator.exponential(2, (2, 2, 5))
    pairs = poz.Pairs(*sums, opponents_chosen=others[0], opponents_rejected=others[1])
    expected = poz.mnpo(pairs, weights=(0.5, 0.25), eta=1.0)
    tensors = poz.Pairs(*[None if x is None else torch.tensor(x) for x in pairs])
    weights = torch.tensor([0.5, 0.25], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(poz.mnpo(tensors, weights=weights, eta=1.0).detach(), torch.tensor(expected))
    (slope,) = torch.autograd.grad(poz.mnpo(tensors, weights=weights, eta=1.0).sum(), weights)
    moved = [poz.mnpo(pairs, weights=(0.5 + d, 0.25), eta=1.0).sum() for d in (1e-5, -1e-5)]
    np.testing.assert_allclose(slope[0], (moved[0] - moved[1]) / 2e-5, rtol=1e-8)  # a parabola: no error but rounding
    compiled = torch.compile(lambda p, w: poz.mnpo(p, weights=(w, 0.25), eta=1.0), backend="aot_eager")
    for w in (0.5, 0.6, 0.7):  # from the second on a symbol
        torch.testing.assert_close(compiled(tensors, w), poz.mnpo(tensors, weights=(w, 0.25), eta=1.0))
    with jax.enable_x64(True):
        batch = jax_batch(pairs)
        run = jax.jit(lambda w: poz.mnpo(batch, weights=w, eta=1.0))
        for given in (jnp.array([0.5, 0.25]), (jnp.array(0.5), 0.25)):
            np.testing.assert_allclose(run(given), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="got 3 weights for 2 opponents"):
        poz.mnpo(tensors, weights=torch.ones(3))


def test_objectives_through_one_compiled_function_do_not_share_a_graph():
    """Called in turn, with the same shapes: each gives its own losses and gradients, and again the second time."""
    compiled = torch.compile(lambda objective, pairs: objective(pairs), backend="aot_eager")
    generator = np.random.default_rng(5)
    sums = [torch.tensor(-generator.exponential(9, 4)) for _ in range(4)]
    objectives = [
        poz.dpo,
        poz.ipo,
        poz.dpo.bind(beta=0.3),
        poz.dpo.bind(beta=0.3, label_smoothing=0.1),
        poz.lcpo,
        poz.lcpo.bind(base=poz.ipo),
        poz.combine({"dpo": 1.0, "ipo": 0.5}),
        poz.combine({"dpo": 1.0, "ipo": 0.25}),
    ]
    seen = []
    for objective in objectives * 2:
        answers = []
        for call in (compiled, lambda objective, pairs: objective(pairs)):
            leaves = [x.clone().requires_grad_() for x in sums]
            losses = call(objective, poz.Pairs(*leaves))
            answers.append((losses.detach(), *torch.autograd.grad(losses.sum(), leaves)))
        for found, expected in zip(*answers, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)  # aot_eager runs the same operations
        seen.append(answers[0][0])
    distinct = {tuple(losses.tolist()) for losses in seen}
    assert len(distinct) == len(objectives), "two of them cannot be told apart here"


def test_devices_and_graph_are_kept():
    x = torch.tensor([-1.0, -2.0], requires_grad=True)
    losses = poz.dpo(poz.Pairs(x, x.detach(), x.detach(), x.detach()))
    assert losses.grad_fn is not None
    assert losses.device == x.device
    assert isinstance(poz.dpo(poz.Pairs(*[jnp.zeros(2)] * 4)), jax.Array)
    assert isinstance(poz.dpo(poz.Pairs(*[np.zeros(2)] * 4)), np.ndarray)


def test_torch_func_transforms_work():
    pairs = [torch.linspace(-3.0, -1.0, 4, dtype=torch.float64) * k for k in (1, 2, 3, 4)]
    losses = torch.func.vmap(lambda *p: poz.dpo(poz.Pairs(*p)))(*pairs)
    torch.testing.assert_close(losses, poz.dpo(poz.Pairs(*pairs)), rtol=0, atol=0)
    slope = torch.func.grad(lambda c: poz.lcpo(poz.Pairs(c, *pairs[1:])).sum())(pairs[0])
    assert torch.isfinite(slope).all()


EDGES = {
    "vpl": (
        {"chosen": [1, 2], "rejected": [0, 0], "latent_mean": [[1], [-1]], "latent_log_variance": [[-1], [1]]},
        {"clamp": 1.0, "kl_weight": 1.0},
    ),
    "orpo": ({"chosen": [-1], "rejected": [-1e-12], "chosen_len": [1], "rejected_len": [1]}, {}),
    "rspo": (
        {"logps": [[-1]], "ref_logps": [[-3]], "anchor_logps": [[-1]], "winrates": [[0.5]]},
        {"regularizer": "chi2", "clamp": 2.0, "eta": 1.0},
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_at_the_edge_of_a_clamp_every_library_has_the_slope_of_the_reference(name):
    fields, params = ({key: np.array(x, float) for key, x in EDGES[name][0].items()}, EDGES[name][1])
    wanted = getattr(poz.reference, name)(**fields, **params)[1]
    family, objective = poz.zoo[name].family, poz.zoo[name].bind(**params)
    given = {key: torch.tensor(x, requires_grad=key in wanted) for key, x in fields.items()}
    objective(family(**given)).sum().backward()
    with jax.enable_x64(True):
        rest = {key: jnp.asarray(x) for key, x in fields.items()}
        slopes = jax.grad(lambda leaves: objective(family(**{**rest, **leaves})).sum())(
            {key: rest[key] for key in wanted}
        )
    for key, slope in wanted.items():
        np.testing.assert_allclose(given[key].grad, slope, rtol=1e-12, atol=1e-15, err_msg=f"torch, {key}")
        np.testing.assert_allclose(slopes[key], slope, rtol=1e-12, atol=1e-15, err_msg=f"jax, {key}")
