"""What one call of JAX's fused head does, counted: products, operators and bytes. A slow-down is seen without a clock."""

import functools
import math
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

from poz._memory import bytes_of
from poz.jax import linear_logps, linear_logps_plan


def traced(kind, rows, hidden, vocabulary, memory="1GiB"):
    """Log-probs alone, with the gradient of the hidden states, or of the head too."""
    shapes = ((rows, hidden), jnp.float32), ((vocabulary, hidden), jnp.float32), ((rows,), jnp.int32)
    arrays = [jax.ShapeDtypeStruct(*shape) for shape in shapes]

    def total(h, w, t):
        return linear_logps(h, w, t, memory=memory).sum()

    which = {"frozen": 0, "train": (0, 1)}.get(kind)
    return jax.jit(total if which is None else jax.value_and_grad(total, which)).trace(*arrays)


def work(jaxpr, times=1):
    """How often each operator runs, of the branches the longest, and the multiplications in products."""
    done = Counter()
    for step in jaxpr.eqns:
        if step.primitive.name == "dot_general":
            (contracted, _), _ = step.params["dimension_numbers"]
            depth = math.prod(step.invars[0].aval.shape[i] for i in contracted)
            done["multiplications"] += times * depth * math.prod(step.outvars[0].aval.shape)
        inner = [getattr(x, "jaxpr", x) for x in jax.tree.leaves(step.params, is_leaf=has_steps) if has_steps(x)]
        if not inner:
            done["operators"] += times
            done[step.primitive.name] += times
        elif step.primitive.name == "cond":
            done += max((work(branch, times) for branch in inner), key=lambda x: (x["multiplications"], x["operators"]))
        else:
            assert step.primitive.name != "while", "a loop whose length is not known while tracing"
            done += sum((work(body, times * step.params.get("length", 1)) for body in inner), Counter())
    return done


def has_steps(x):
    return hasattr(getattr(x, "jaxpr", x), "eqns")


SMALL, LARGE, TWICE = (32, 64, 256), (2048, 64, 16384), (2048, 64, 32768)  # rows, hidden sizes, tokens


@functools.cache
def call(kind, shape, memory="1GiB"):
    """What it does, its plan, and the bytes beside arguments and results, which are settled before LLVM sees it."""
    hidden, weight = (jax.ShapeDtypeStruct((size, shape[1]), jnp.float32) for size in (shape[0], shape[2]))
    gradients = {"hidden_gradient": kind != "forward", "head_gradient": kind == "train"}
    if memory == "smallest":
        with pytest.raises(ValueError, match="smallest") as least:
            linear_logps_plan(hidden, weight, memory=1, **gradients)
        memory = str(least.value).split("'")[-2]
    program = traced(kind, *shape, memory=memory)
    built = program.lower().compile(compiler_options={"xla_backend_optimization_level": 0})
    plan = linear_logps_plan(hidden, weight, memory=memory, **gradients)
    return work(program.jaxpr.jaxpr), plan, built.memory_analysis().temp_size_in_bytes


CALLS = [("forward", "1GiB"), ("frozen", "1GiB"), ("train", "1GiB"), ("train", "smallest")]
# Products of N V D multiplications: one for log-probs, one more where the head is frozen, two more where it is not.
PRODUCTS = {"forward": 1, "frozen": 2, "train": 3}
MODES = {
    SMALL: {"forward": "forward", "frozen": "one pass", "train": "keep", "smallest": "keep"},
    LARGE: {"forward": "forward", "frozen": "one pass", "train": "part", "smallest": "recompute"},
}


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("kind", "memory"), CALLS)
def test_products_are_those_that_are_promised(kind, memory, shape):
    """Logits that neither wait in the gradient's buffer nor beside it are made again."""
    found, plan, _ = call(kind, shape, memory)
    assert plan.mode == MODES[shape]["smallest" if memory == "smallest" else kind]
    again = 1 - (plan.lodged + plan.kept) / (plan.tiles * plan.blocks) if kind == "train" else 0
    assert found["multiplications"] == (PRODUCTS[kind] + again) * math.prod(shape)


# What a call ran when this was written: of the small shape, and of one strip of the vocabulary (16 units) of the large one.
# A change that runs more of them slows every call down, and has to say why here.
OPERATORS = {("forward", "1GiB"): (161, 2401), ("frozen", "1GiB"): (222, 2753), ("train", "smallest"): (319, 4968)}


@pytest.mark.parametrize(("kind", "memory"), OPERATORS)
def test_operators_are_no_more_than_they_were(kind, memory):
    small, strip = OPERATORS[kind, memory]
    (large, plan, _), (twice, longer, _) = (call(kind, shape, memory) for shape in (LARGE, TWICE))
    assert (plan.strips, longer.strips, plan.tiles * plan.blocks) == (2, 4, 16)
    assert call(kind, SMALL, memory)[0]["operators"] <= small
    assert (twice["operators"] - large["operators"]) / 2 <= strip


@pytest.mark.parametrize(("kind", "memory"), CALLS)
def test_bytes_are_within_the_plan_and_grow_with_the_vocabulary_by_kept_logits_alone(kind, memory):
    for shape in (SMALL, LARGE, TWICE):
        _, plan, used = call(kind, shape, memory)
        assert used <= plan.workspace + plan.held
    if plan.mode in ("forward", "one pass", "recompute"):
        assert used == call(kind, LARGE, memory)[2]
    else:  # what grows are the logits that are kept
        assert plan.held > call(kind, LARGE, memory)[1].held > 0


def test_no_logits_wait_in_a_gradient_of_the_head_that_32_bit_integers_do_not_number():
    def lodged(tokens):
        return linear_logps_plan(
            *(jax.ShapeDtypeStruct((n, 2048), jnp.float32) for n in (4096, tokens)), memory="64GiB"
        ).lodged

    assert lodged(2**20 - 1) > 0
    assert lodged(2**20) == 0


@pytest.mark.parametrize("gradient", ["hidden_gradient", "head_gradient"])
def test_a_gradient_more_needs_more_memory(gradient):
    least = []
    for wanted in (False, True):
        with pytest.raises(ValueError, match="smallest") as said:
            linear_logps_plan(
                *(jax.ShapeDtypeStruct((n, 64), jnp.float32) for n in (2048, 16384)), memory=1, **{gradient: wanted}
            )
        least.append(bytes_of(str(said.value).split("'")[-2]))
    assert least[0] < least[1]


@pytest.mark.parametrize(("rows", "dtype", "bytes_each"), [(8, jnp.float32, 4), (1024, jnp.bfloat16, 12)])
def test_a_wider_head_needs_room_for_a_longer_strip(rows, dtype, bytes_each):
    """A strip is 1024 rows of the head; of bf16 it and 1024 hidden states are there in float32 beside themselves."""
    least = []
    for width in (64, 128):
        shapes = [jax.ShapeDtypeStruct((n, width), dtype) for n in (rows, 1024)]
        with pytest.raises(ValueError, match="smallest") as said:
            linear_logps_plan(*shapes, memory=1, hidden_gradient=False, head_gradient=False)
        least.append(bytes_of(str(said.value).split("'")[-2]))
    assert least[1] - least[0] >= 1024 * 64 * bytes_each
