"""The worlds are what they say: enumeration against a walk over tokens, known minimisers, and who knows what."""

import functools
import inspect
import sys

import numpy as np
import pytest
import scipy.stats

import poz
from poz.purposes import PURPOSES
from poz.worlds import WORLDS, budget, measure, report
from poz.worlds.batches import WIN_RATES, batch
from poz.worlds.labels import labels
from poz.worlds.language import END, FEATURES, LONGEST, SENTENCES, SIGNS, leaning, logps

BETA, SEEDS = 0.7, 6


@pytest.fixture(scope="module")
def truth():
    return WORLDS["clean"].truth(3)


def walk(prompts, theta, prompt, sentence):
    """The probability of a sentence, token by token, in plain Python."""
    p, x = 1.0, prompts.x[prompt]
    row = SENTENCES.index(sentence)
    for place in range(min(len(sentence) + 1, LONGEST)):
        last = 0 if place == 0 else (1 if sentence[place - 1] == "a" else -1)
        features = [1, *x, place / (LONGEST - 1), last]
        logits = [
            float(prompts.reference[v, prompt, row, place]) + (0 if v == END else float(np.dot(theta[v], features)))
            for v in range(3)
        ]
        weights = [np.exp(z) for z in logits]
        token = "ab".index(sentence[place]) if place < len(sentence) else END
        p *= weights[token] / sum(weights)
    return p


def test_sentences_are_enumerated(truth):
    rng = np.random.default_rng(0)
    theta = rng.normal(0, 1, (2, FEATURES))
    p = [walk(truth.test, theta, 1, sentence) for sentence in SENTENCES]
    assert sum(p) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.exp(logps(truth.test, theta))[1], p, rtol=1e-12)
    by_hand = truth.rewards["test"].max(-1) - (np.exp(logps(truth.test, 0 * theta)) * truth.rewards["test"]).sum(-1)
    assert measure.worth(truth, 0 * theta).regret == pytest.approx(by_hand.mean(), rel=1e-12)
    assert measure.worth(truth, 0 * theta).kl == 0


def test_a_policy_that_writes_the_best_sentence_has_no_regret(truth):
    always_a = np.zeros((2, FEATURES))
    always_a[0, 0] = 60.0
    likes_a = {**truth.rewards, "test": np.broadcast_to(SIGNS.sum(-1), truth.rewards["test"].shape)}
    assert measure.worth(truth.__class__(**{**vars(truth), "rewards": likes_a}), always_a).regret == pytest.approx(
        0, abs=1e-9
    )
    assert measure.worth(truth, always_a).regret > 0.5


def test_regret_with_a_price_on_kl_is_a_kl_from_the_optimum(truth):
    """E r - tau KL(. || ref) at its optimum, less that of a policy, is tau KL(policy || optimum)."""
    tau, r = 0.4, truth.rewards["test"]
    theta = np.random.default_rng(1).normal(0, 0.5, (2, FEATURES))
    log_q, log_p = logps(truth.test, 0 * theta), logps(truth.test, theta)
    best = logps(leaning(truth.test, r / tau), 0 * theta)  # token by token
    np.testing.assert_allclose(
        best, log_q + r / tau - np.log(np.exp(log_q + r / tau).sum(-1, keepdims=True)), atol=1e-9
    )

    def value(log_p):
        return (np.exp(log_p) * (r - tau * (log_p - log_q))).sum(-1)

    np.testing.assert_allclose(value(best) - value(log_p), tau * (np.exp(log_p) * (log_p - best)).sum(-1), atol=1e-9)


STEP = 1e-4
ROUNDING = 1e-7  # of central differences: STEP squared, and 1e-16 over STEP


def slope(objective, judged, ratios):
    """The largest of the exact expected loss over all pairs of a prompt, in the log-ratios of the policy."""
    upper = np.triu_indices(len(SENTENCES), 1)

    def loss(ratios):
        first, second = ratios[upper[0]], ratios[upper[1]]
        right, wrong = (objective(poz.Pairs(a, b, 0 * a, 0 * b)) for a, b in ((first, second), (second, first)))
        return np.mean(judged[upper] * right + (1 - judged[upper]) * wrong)

    steps = STEP * np.eye(len(ratios))[::6]
    return max(abs(loss(ratios + step) - loss(ratios - step)) / (2 * STEP) for step in steps)


@pytest.mark.parametrize(
    ("world", "right", "wrong"),
    [
        ("clean", poz.dpo.bind(beta=BETA), poz.ipo.bind(tau=BETA)),
        ("flips_30", poz.robust_dpo.bind(beta=BETA, label_smoothing=0.3), poz.dpo.bind(beta=BETA)),
        ("annotators", poz.robust_dpo.bind(beta=BETA, label_smoothing=0.2425), poz.dpo.bind(beta=BETA)),
    ],
)
def test_where_a_loss_is_proved_to_find_the_reward_its_slope_is_nothing(truth, world, right, wrong):
    """At reference times e^(r / beta), of the exact labels: DPO's of clean ones, robust DPO's of flipped ones, not DPO's."""
    r = truth.rewards["test"]
    judged, there = WORLDS[world].judges(r)[0], r[0] / BETA
    assert slope(right, judged, there) < ROUNDING < 100 * ROUNDING < slope(wrong, judged, there)


def test_certain_labels_end_at_a_margin_for_some_and_never_for_dpo():
    """cDPO at logit(1 - eps) / beta, IPO at 1 / (2 tau); DPO still descends at five times that."""

    def descent(objective, margin):
        low, high = (objective(poz.Pairs(np.array([h]), *np.zeros((3, 1)))) for h in (margin - STEP, margin + STEP))
        return (high - low).item() / (2 * STEP)

    end = np.log(0.7 / 0.3) / BETA
    assert descent(poz.dpo.bind(beta=BETA, label_smoothing=0.3), end) == pytest.approx(0, abs=ROUNDING)
    assert descent(poz.ipo.bind(tau=BETA), 1 / (2 * BETA)) == pytest.approx(0, abs=ROUNDING)
    assert descent(poz.dpo.bind(beta=BETA), 5 * end) < -1e-3


def test_a_reference_that_ranks_wrongly_does(truth):
    assert measure.worth(WORLDS["wrong_reference"].truth(3), measure.REFERENCE).accuracy < 0.4
    assert measure.worth(truth, measure.REFERENCE).accuracy > 0.4


@pytest.mark.parametrize("name", WORLDS)
def test_labels_are_what_annotators_are_said_to_say(name):
    """Chosen is the better one as often as the exact judgement has it."""
    world = WORLDS[name]
    assert set(world.purposes) <= set(PURPOSES)
    rows = []
    for seed in range(SEEDS):
        truth = world.truth(seed)
        said = labels(world, truth)
        likely = said.seen.logps.sum(-1).reshape(-1, 2)  # which sentences these are, by their log-probs
        known = logps(truth.train, measure.REFERENCE)
        where = np.abs(known[np.arange(24).repeat(2) % world.lists, None] - likely[..., None]).argmin(-1)
        judged = world.judges(truth.rewards["train"] if truth.gains is None else truth.gains["train"])
        p = judged[np.arange(24).repeat(2) % world.lists, where[:, 0], where[:, 1]]
        rows.append((np.where(said.label == 1, np.sign(p - 0.5), 0).sum(), np.abs(2 * p - 1).sum()))
    agreed, expected = np.sum(rows, 0)
    spread = np.sqrt(SEEDS * 48 * (4 if world.lists < 24 else 1))  # at most, of as many signs; repeats add up
    assert abs(agreed - expected) < 3 * spread


def test_labels_know_no_reward_and_the_choice_is_given_none(truth):
    assert set(inspect.signature(measure.choose).parameters) == {"held_out", "judged", "theta", "seed"}
    long, right = np.zeros((2, FEATURES)), np.zeros((2, FEATURES))
    long[:, 0] = 3.0  # long sentences, of any letters
    aim = truth.aim.weights
    right[0, :4] = np.concatenate([[aim[0] * 0.5], aim[1:]])
    world = WORLDS["length"]
    policies = np.stack([right, long])
    biased = measure.choose(truth.held_out, world.judges(truth.rewards["held_out"] * 0), policies, 0)
    assert biased == 1  # annotators who like nothing but length
    assert measure.choose(truth.held_out, WORLDS["clean"].judged(truth, "held_out"), policies, 0) == 0


def test_a_choice_is_never_a_policy_that_is_not_finite(truth):
    policies = np.stack([np.full((2, FEATURES), np.nan), np.zeros((2, FEATURES))])
    assert measure.choose(truth.held_out, WORLDS["clean"].judged(truth, "held_out"), policies, 0) == 1


@functools.cache
def given_by(world):
    return labels(WORLDS[world], WORLDS[world].truth(3))


@pytest.mark.parametrize("objective", budget.objectives(), ids=lambda one: one.name)
def test_every_objective_has_the_same_budget_and_a_batch_or_a_reason(objective):
    drawn = budget.settings(objective, 5)
    owner = objective.params["base"].default if objective.name == "lcpo" else objective
    for name, values in drawn.items():
        assert len(values) == len(set(values)) == budget.SETTINGS
        if name != "learning_rate":
            assert all(owner.params[name].domain.problem(float(value)) is None for value in values)
            assert values[0] == owner.params[name].default or (objective.name, name) == ("simpo", "gamma_beta_ratio")
    ran = 0
    for name, world in WORLDS.items():
        if not budget.reason(objective, world):
            ran += 1
            given = given_by(name)
            losses = objective(batch(np, objective, given, lambda some: some.logps * 1.1))
            assert np.isfinite(losses).all()
            if "margin" in objective.reads and objective.name not in WIN_RATES:  # of two others chosen may beat fewer
                assert (batch(np, objective, given, lambda some: some.logps).margin >= 0).all()
    assert (ran == 0) == (objective.name in {*budget.LEFT_OUT, "ddpo", "tdpo", "sampo", "tis_dpo", "wpo"})


def test_annotators_are_found_out():
    from poz.worlds.runs import Draws
    from poz.worlds.training import train

    draws = Draws([WORLDS["annotators"]], range(6))
    values = {"learning_rate": np.full((6, 1), 0.05), "beta": np.full((6, 1), 0.5)}
    _, state = train(poz.lcpo, draws.stacked([WORLDS["annotators"]]), values, 60)
    reliability = np.asarray(state.reliability)[0, :, 0].mean(0)
    assert reliability[:2].min() > reliability[2:].max() + 0.05


def test_intervals_are_students():
    for freedom in (3, 7, 15):
        assert report.student(freedom, 0.99) == pytest.approx(scipy.stats.t.ppf(0.995, freedom), rel=0.02)
    assert report.student(15, 0.95) == pytest.approx(scipy.stats.t.ppf(0.975, 15), rel=1e-4)


def test_without_jax_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    monkeypatch.delitem(sys.modules, "poz.worlds.training", raising=False)
    with pytest.raises(ImportError, match=r"The training of worlds needs optax: pip install 'poz\[jax\]'"):
        import poz.worlds.training  # noqa: F401


def test_fields_mean_what_the_objective_reads():
    for name in ("clean", "certain", "cycles", "ties"):
        world = WORLDS[name]
        said = labels(world, world.truth(3))
        given = {one: batch(np, poz.zoo[one], said, lambda some: some.logps) for one in ("gpo", "sppo", "spce")}
        assert np.abs(given["gpo"].winrates.mean(-1)).max() < 1e-12  # scores of a pair are one another's negative
        assert np.abs(given["sppo"].winrates.mean(-1) - 0.5).max() < 1e-12
        np.testing.assert_array_equal(given["sppo"].winrates - given["gpo"].winrates, 0.5)
        assert ((given["spce"].label == 0.5).any()) == ("label" in world.supplies)


def test_a_claim_is_judged_of_what_it_is_about():
    run = {one.name: one for one in budget.objectives()}
    assert run["vpo"].values["sign"] == -1  # the data are given
    assert ("label_smoothing" in budget.drawn(run["dpo"]), "label_smoothing" in budget.drawn(run["cdpo"])) == (0, 1)
    names = {(name, answer.to): report.runs_as(name, answer) for name, one in poz.zoo.items() for answer in one.said}
    assert names["dpo", "noisy-labels"] == "cdpo"
    assert names["gpo_link", "noisy-labels"] == names["spce", "preference-strength"] == ""
    assert names["vpo", "over-optimisation"] == "vpo"
    assert names["r_dpo", "length-bias"] == "r_dpo"
