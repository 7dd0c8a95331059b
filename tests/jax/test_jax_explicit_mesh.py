"""JAX's fused head on two by two devices of an explicit mesh, rows over one axis and the vocabulary over the other; and
objectives that tie a batch together, over a sharded one."""

import os
import subprocess
import sys

PROGRAM = """
import warnings
import jax, jax.numpy as jnp, numpy as np, poz
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from poz.jax import linear_logps
from poz.testing import draw_case

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 4
rng = np.random.default_rng(0)
hidden, weight, bias = rng.normal(size=(4, 5, 6)), 2 * rng.normal(size=(32, 6)), rng.normal(size=32)
targets, upstream = rng.integers(0, 32, (4, 5)), rng.normal(size=(3, 4, 5))
targets[:, ::4] = -100
axes = {"data_axis": "data", "vocabulary_axis": "vocabulary"}


def fused(h, w, b, t, **where):
    return linear_logps(h, w, t, bias=b, outputs=("logps", "lse", "entropy"), softcap=5.0, **where)


def dense(h, w, b, t):
    log_p = jax.nn.log_softmax(z := 5 * jnp.tanh((h @ w.T + b) / 5))
    logps = jnp.take_along_axis(log_p, jnp.maximum(t, 0)[..., None], -1)[..., 0]
    found = logps, jax.nn.logsumexp(z, -1), -(jnp.exp(log_p) * log_p).sum(-1)
    return [jnp.where(t >= 0, x, 0) for x in found]


def slopes(function, **where):
    def total(h, w, b, t):
        found = function(h, w, b, t, **where)
        return sum((g * x).sum() for g, x in zip(upstream, found, strict=True)), found

    return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))


def close(found, wanted):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)  # float64 sums in another order


whole = [jnp.asarray(x) for x in (hidden, weight, bias, targets)]
wanted = slopes(dense)(*whole)
frozen = jax.grad(lambda h: dense(h, *whole[1:])[0].sum())(whole[0])
default = jax.make_mesh((2, 2), ("data", "vocabulary"))
assert default.axis_types == (AxisType.Explicit,) * 2
MIXED = AxisType.Explicit, AxisType.Auto
for mesh in (default, jax.make_mesh((2, 2), ("data", "vocabulary"), axis_types=MIXED)):
    names = "data", "vocabulary", "vocabulary", "data"
    laid = [jax.device_put(x, NamedSharding(mesh, P(name))) for x, name in zip(whole, names)]
    program = slopes(fused, mesh=mesh, **axes)
    close(program(*whole), wanted)
    close(program(*laid), wanted)
    assert "all-gather" not in program.lower(*laid).compile().as_text()
    alone = jax.jit(jax.grad(lambda h, w, t: linear_logps(h, w, t, bias=laid[2], softcap=5.0, mesh=mesh, **axes).sum()))
    close(alone(laid[0], laid[1], laid[3]), frozen)
mesh, laid = default, [jax.device_put(x, NamedSharding(default, P(name))) for x, name in zip(whole, names)]
program = slopes(fused, mesh=mesh, **axes)
for gradient, array in zip(program(*laid)[0], laid):
    assert gradient.sharding.is_equivalent_to(array.sharding, array.ndim), (gradient.sharding, array.sharding)
found, back = jax.vjp(lambda *given: fused(*given, laid[3], mesh=mesh, **axes), *laid[:3])  # outside of jit
close((back(type(found)(*(jax.device_put(g, x.sharding) for g, x in zip(upstream, found)))), list(found)), wanted)
with jax.set_mesh(mesh):
    close(program(*laid), wanted)

# Without mesh=, the types of arrays on explicit axes say how they lie: hidden, weight, bias, targets.
lay = lambda x, spec, on=default: jax.device_put(x, NamedSharding(on, P(*spec)))
ways = [("data",), ("vocabulary",), ("vocabulary",), ("data",)], [(("data", "vocabulary"),), (), (), ()]
program = slopes(fused)
for way in ways:
    close(program(*(lay(x, spec) for x, spec in zip(whole, way, strict=True))), wanted)
assert "all-gather" not in program.lower(*laid).compile().as_text()
close(fused(*laid), wanted[1])
WRONG = {
    "reshard(weight": [("data",), ("data",), (), ()],
    "hidden is laid out": [(None, None, "data"), (), (), ()],
    "weight is laid out": [(), (None, "data"), (), ()],
    "hidden and targets": [("data",), (), (), ("vocabulary",)],
    "weight and bias": [(), ("vocabulary",), ("data",), ()],
    "over one axis": [(), (("data", "vocabulary"),), (), ()],
}
shapes = (4, 6, 8), (32, 8), (32,), (4, 6)
even = [jnp.zeros(shape, int if shape == (4, 6) else float) for shape in shapes]
for words, way in WRONG.items():
    try:
        fused(*(lay(x, spec) for x, spec in zip(even, way, strict=True)))
    except ValueError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)

# Automatic axes do not show in types: a sentence where arrays may lie on them, none where they are seen to be whole.
automatic = jax.make_mesh((2, 2), ("data", "vocabulary"), axis_types=(AxisType.Auto,) * 2)
with warnings.catch_warnings():
    warnings.simplefilter("error")
    close(fused(*(lay(x, (), automatic) for x in whole)), wanted[1])
    on_axes = [lay(x, (axis,), automatic) for x, axis in zip(whole, names, strict=True)]
    close(fused(*on_axes, mesh=automatic, **axes), wanted[1])
    for run in (fused, jax.jit(fused)):
        try:
            run(*on_axes)
        except UserWarning as warning:
            assert "hidden lies on a mesh whose axes data, vocabulary are automatic" in str(warning), warning
        else:
            raise AssertionError("nothing said of automatic axes")

# Objectives that tie a batch together, over a sharded one.
four = jax.make_mesh((4,), ("data",))
for name in ("aot", "relative_po", "reward_contrastive", "gvpo", "kl_cov"):
    case = draw_case(getattr(poz, name), np.random.default_rng(1), size=8)
    arrays = {field: jnp.asarray(x) for field, x in case.batch._asdict().items() if isinstance(x, np.ndarray)}
    rest = {field: x for field, x in case.batch._asdict().items() if field not in arrays}
    numbers = {field: x for field, x in arrays.items() if x.dtype == float}

    def losses(numbers, others):
        found = case.objective(type(case.batch)(**{**rest, **others, **numbers}))
        return (found * jnp.arange(1.0, 1 + len(found))).sum(), found

    split = lambda given: {field: lay(x, ("data",) if x.shape[:1] == (8,) else (), four) for field, x in given.items()}
    step = jax.jit(jax.grad(losses, has_aux=True))
    close(step(split(numbers), split(arrays)), step(numbers, arrays))
    assert any(x.shape[:1] == (8,) for x in numbers.values())
"""


def test_two_axes_of_an_explicit_mesh_give_what_the_dense_formula_gives():
    """Values and gradients, float64; axes of both kinds, and of one kind each; with mesh= and read from the arrays."""
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
