"""Numbers that cannot be what they are handed over as: refused where reading them costs nothing, and left alone elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz

MAKE = {"numpy": np.asarray, "torch": torch.tensor, "jax": jnp.asarray}
ONE = np.array([-1.0, -2.0], np.float32)
TOKENS = np.array([[-1.0, -2.0, -0.5], [-1.0, -2.0, -0.5]], np.float32)
LABELS = np.array([[-100, 5, 0], [-100, -100, 7]], np.int32)
COUNTS = np.array([2, -1], np.int32)


def pairs(make, **more):
    made = {"chosen": ONE, "rejected": ONE, "ref_chosen": ONE, "ref_rejected": ONE, **more}
    return poz.Pairs(**{name: make(value) for name, value in made.items()})


def token_pairs(make, **more):
    return poz.TokenPairs(**{name: make(x) for name, x in {"chosen": TOKENS, "rejected": TOKENS, **more}.items()})


def unpaired(make, **more):
    made = {"logps": ONE, "ref_logps": ONE, "desirable": np.array([True, False]), "lengths": COUNTS * 0 + 2, **more}
    return poz.Unpaired(**{name: make(value) for name, value in made.items()})


WEIGHTS = {"chosen_weights": TOKENS * 0 + 1, "rejected_weights": TOKENS, "ref_chosen": TOKENS, "ref_rejected": TOKENS}
BAD = {
    "labels for a mask of chosen": (
        lambda m: poz.Pairs.from_tokens(m(TOKENS), m(TOKENS), chosen_mask=m(LABELS)),
        r"chosen_mask must hold 0 and 1; got -100\. Of labels, give labels != -100",
    ),
    "labels for a mask of tokens": (
        lambda m: poz.TokenPairs.from_tokens(m(TOKENS), m(TOKENS), rejected_mask=m(LABELS)),
        "rejected_mask must hold 0 and 1; got -100",
    ),
    "labels for a mask of single completions": (
        lambda m: poz.Unpaired.from_tokens(m(TOKENS), token_mask=m(LABELS)),
        "token_mask must hold 0 and 1; got -100",
    ),
    "positions for a mask": (
        lambda m: poz.Samples.from_tokens(m(TOKENS[None]), token_mask=m(np.arange(6).reshape(1, 2, 3))),
        "token_mask must hold 0 and 1; got 2",
    ),
    "a negative length": (
        lambda m: poz.simpo(pairs(m, chosen_len=COUNTS, rejected_len=COUNTS * 0 + 1)),
        r"`simpo` needs chosen_len of 0 or more; got -1",
    ),
    "a negative length in a list": (
        lambda m: poz.pro(poz.Ranked(m(TOKENS), lengths=m(TOKENS), scores=m(-np.sort(-TOKENS)))),
        r"`pro` needs lengths of 0 or more; got -1\.0",
    ),
    "a negative weight of an example": (
        lambda m: poz.bco(unpaired(m, weights=ONE)),
        r"`bco` needs weights of 0 or more; got -1\.0",
    ),
    "a negative weight of a token": (
        lambda m: poz.tis_dpo(token_pairs(m, **WEIGHTS)),
        r"`tis_dpo` needs rejected_weights of 0 or more; got -1\.0",
    ),
    "tokens for completions": (
        lambda m: poz.dpo(poz.Pairs(*[m(np.zeros((4, 7), np.float32))] * 4)),
        r"`dpo` needs one log-prob per completion for chosen, shape \(batch,\); got shape \(4, 7\)\. Sum those of tokens, as "
        r"poz\.Pairs\.from_tokens does",
    ),
    "tokens for single completions": (
        lambda m: poz.bco(poz.Unpaired(m(TOKENS), m(TOKENS), m(TOKENS > 0), m(TOKENS))),
        r"`bco` needs one log-prob per completion for logps, shape \(batch,\); got shape \(2, 3\)",
    ),
    "tokens for a list": (
        lambda m: poz.pro(poz.Ranked(m(TOKENS[None]), lengths=m(TOKENS[None]), scores=m(TOKENS[None]))),
        r"one log-prob per completion for logps, shape \(batch, K\); got shape \(1, 2, 3\)",
    ),
    "probabilities above 1": (
        lambda m: poz.orpo(pairs(m, chosen=-ONE / 4, chosen_len=COUNTS * 0 + 1, rejected_len=COUNTS * 0 + 1)),
        r"`orpo` needs log-probs of at most 0, of probabilities; chosen has a mean of 0\.25 nats per token",
    ),
    "a density": (
        lambda m: poz.simper(pairs(m, rejected=-ONE, chosen_len=COUNTS * 0 + 2, rejected_len=COUNTS * 0 + 2)),
        r"`simper` needs log-probs of at most 0, of probabilities; rejected has a mean of 0\.5 nats per token",
    ),
}


@pytest.mark.parametrize("library", MAKE)
@pytest.mark.parametrize("case", BAD)
def test_refused(case, library):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act(MAKE[library])
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("library", MAKE)
def test_what_is_right_is_taken(library):
    make = MAKE[library]
    plain = poz.Pairs.from_tokens(make(TOKENS), make(TOKENS), chosen_mask=make(LABELS != -100))
    ints = poz.Pairs.from_tokens(make(TOKENS), make(TOKENS), chosen_mask=make((LABELS != -100).astype(np.int32)))
    assert np.array_equal(plain.chosen, ints.chosen)
    # Densities of continuous actions are legal where no probability is needed, and so is what a mask leaves out.
    assert np.isfinite(np.asarray(poz.cpl(token_pairs(make, chosen=-TOKENS)))).all()
    weights = np.where(LABELS == -100, -1, 1).astype(np.float32)
    masks = {"chosen_mask": LABELS != -100, "rejected_mask": LABELS != -100}
    made = token_pairs(make, **{**WEIGHTS, "chosen_weights": weights, "rejected_weights": weights, **masks})
    assert np.isfinite(np.asarray(poz.tis_dpo(made))).all()
    # 16 bits may round a certain completion to a little more than 1, and nothing at all is left of an empty one.
    lengths = {"chosen_len": np.array([1000, 0]), "rejected_len": np.array([1, 1])}
    near = pairs(make, chosen=np.array([0.5, 0.0], np.float32), **lengths)
    assert np.isfinite(np.asarray(poz.orpo(near))).all()


def test_what_is_compiled_or_mapped_is_not_read():
    bad = pairs(jnp.asarray, chosen_len=COUNTS, rejected_len=COUNTS)
    assert jax.jit(poz.simpo)(bad).shape == (2,)
    assert jax.vmap(poz.simpo)(bad).shape == (2,)
    mapped = torch.func.vmap(
        lambda logps, count: poz.simpo(poz.Pairs(logps, logps, chosen_len=count, rejected_len=count))
    )
    assert mapped(torch.tensor(ONE), torch.tensor(COUNTS)).shape == (2,)
    made = jax.jit(lambda x, mask: poz.Pairs.from_tokens(x, x, chosen_mask=mask).chosen_len)(TOKENS, LABELS)
    assert made.shape == (2,)
    with pytest.raises(ValueError, match=r"got shape \(4, 7\)"):  # a shape is known there too
        jax.jit(poz.dpo)(poz.Pairs(*[jnp.zeros((4, 7))] * 4))
    assert jax.vmap(poz.dpo)(poz.Pairs(*[jnp.zeros((4, 7))] * 4)).shape == (4, 7)


@pytest.mark.parametrize("library", MAKE)
@pytest.mark.parametrize("size", [2, 3, 1000], ids=str)  # few are read as a list, many as NumPy's array
@pytest.mark.parametrize("nan", [0, 1], ids=["NaN first", "NaN last"])
def test_a_nan_hides_nothing(library, size, nan):
    make = MAKE[library]
    count = np.ones(size, np.float32)
    count[[0, -1][nan]], count[[-1, 0][nan]] = np.nan, -1
    logps = np.full(size, -1.0, np.float32)
    with pytest.raises(ValueError, match=r"needs rejected_len of 0 or more; got -1\.0"):
        poz.simpo(poz.Pairs(make(logps), make(logps), chosen_len=make(abs(count)), rejected_len=make(count)))
    with pytest.raises(ValueError, match=r"chosen has a mean of 1 nats per token"):
        poz.orpo(poz.Pairs(make(-count), make(logps), chosen_len=make(-logps), rejected_len=make(-logps)))
