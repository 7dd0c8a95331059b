"""`poz demo`: a tiny model, built on the spot, learns preferences, or a rule, with TRL and any objective."""

from __future__ import annotations

import math
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from poz import preferences
from poz._demo_pairs import ASSUMED, completed, of_known, read_alone
from poz._demo_rewards import Judge, Judged
from poz._demo_rollouts import Learnt, learn
from poz._demo_trainer import PACKAGES, shortened, trainer_of
from poz._output import PICTURES, check_output
from poz._versions import made_with, versions
from poz.demo_settings import BATCH_SIZE, LEARNING_RATE, PARAMS, STEPS
from poz.families import Rollouts, layout_of
from poz.objective import Objective
from poz.zoo import zoo

HELD_OUT = 400
"""Pairs that are held out at most; the standard error of an accuracy is then at most 1/40."""

FEW = 20
"""Of no more annotators than this each reliability is shown."""


class Measured(NamedTuple):
    """How the model does on held-out pairs.

    Attributes:
        loss: Mean loss of the objective.
        margin: Mean implicit reward of chosen minus that of rejected, see `poz.integrations.trl.DPOTrainer`; of a reward
            model, mean score of chosen minus that of rejected.
        accuracy: Share of pairs whose chosen completion has the higher one; 1/2 where all are equal, as for a policy that
            still is its own reference.
    """

    loss: float
    margin: float
    accuracy: float


class Result(NamedTuple):
    """What a demo gives back.

    Attributes:
        objective: Name.
        train_pairs: Number of pairs trained on.
        held_out_pairs: Number of pairs measured on.
        before: Before training.
        after: After it.
        training: For each logged step: step, and loss, margin and accuracy on the batch.
        held_out: For each evaluation: step, and the same on the held-out pairs.
        reliability: What LCPO-EM found: of each annotator, by their id, or of all by None. Empty for other objectives.
        picture: The file with the curves.
        judged: What a reward model says of the policy, or None where none is asked.
        bound: The objective, as it was bound.
        seed: Of weights, split and order.
        versions: Of Python, poz and what it trains with.
    """

    objective: str
    train_pairs: int
    held_out_pairs: int
    before: Measured
    after: Measured
    training: list[tuple[int, Measured]]
    held_out: list[tuple[int, Measured]]
    reliability: dict[Any, float]
    picture: Path
    judged: Judged | None
    bound: str
    seed: int
    versions: dict[str, str]


def run(
    objective: str | Objective = "simpo",
    data: str | os.PathLike[str] | None = None,
    steps: int = STEPS,
    out: str | os.PathLike[str] = "poz-demo.png",
    seed: int = 0,
    *,
    params: Mapping[str, Any] = MappingProxyType({}),
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    max_length: int = 256,
    save: str | os.PathLike[str] | None = None,
    reward_model: str | os.PathLike[str] | None = None,
    show: Callable[[str], None] = print,
) -> Result | Learnt:
    """Trains a tiny Llama with TRL on preference pairs and draws how loss, margin and accuracy went.

    It is a reward model where the objective is on scores, such as "bradley_terry", and else a policy.
    The model starts from random weights and reads pieces of the pairs' words, so nothing is downloaded; it learns
    which completion is preferred, not to write. A fifth of the pairs, at most `HELD_OUT`, is held out. Of long dialogues
    the end of the prompt and the beginning of the completions are kept.

    "lcpo", "lcpo_em" and "re_po" learn how reliable each id in the column `annotator` is, as in `DPOTrainer`; held-out
    pairs of those who labelled no other pair are trained on. With a `reliability` in `params` they are the loss of that one.

    Of an objective on rollouts, such as "grpo", it is a policy that reads no pairs: it learns a rule, to count on, from the
    rewards of what it writes itself (`GRPOTrainer`). Its prompts are three digits, a quarter of which are held out.

    Args:
        objective: The name of any objective that pairs can serve, with the hyper-parameters of `poz.demo_settings`, or an
            objective as it is bound. What it reads beside the pairs is filled as `DPOTrainer` says, and as `ASSUMED`
            where the data lack a column. "kto" takes the KL to be 0, as pairs bring no samples for it.
        data: A file that `poz.preferences.load` reads; the set that comes with poz if None.
        steps: Optimiser steps.
        out: Where to write the PNG.
        seed: Of weights, split and order.
        params: Hyper-parameters that are set otherwise.
        batch_size: Pairs per step, or prompts, of which the policy writes 16 completions each.
        learning_rate: Peak of the learning rate.
        save: A folder to write the trained model and its tokenizer to, if any.
        reward_model: A folder with a reward model, if any, which scores what the policy writes for held-out prompts,
            before and after training.
        max_length: Bytes of prompt and completion together, at most a quarter of them prompt where they do not fit.
        show: Is given each line of the report.

    Raises:
        ImportError: TRL or matplotlib is not installed.
        TypeError: An unknown hyper-parameter.
        ValueError: A malformed data file, fewer than 5 pairs, fewer than 1 step, a picture that cannot be written, a
            hyper-parameter out of its domain, an objective that pairs, or these pairs, cannot serve, or a folder that
            holds no reward model.
        FloatingPointError: A loss that is no number.
    """
    spec, notes = _bound(objective, params)
    name = objective if isinstance(objective, str) else objective.name
    learns = isinstance(objective, str) and spec.name == "lcpo" and "reliability" not in params
    if steps < 1:
        raise ValueError(f"The demo takes at least 1 step; got {steps}.")
    with suppress(OSError):  # the check below says what is wrong
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    check_output(Path(out), PICTURES)
    if spec.family is Rollouts:
        given = {"data": data, "reward_model": reward_model}
        for what in (what for what, one in given.items() if one is not None):
            raise ValueError(f"`{name}` learns a rule from what the policy writes itself. Leave {what} out.")
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            how: dict[str, Any] = {
                "steps": steps,
                "seed": seed,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
            }
            return learn(spec, name, folder, **how, out=Path(out), save=save, show=show)
    rewards = layout_of(spec.family).scores
    if rewards and reward_model is not None:
        raise ValueError(
            f"`{name}` trains a reward model itself; another one scores what policies write. Leave it out."
        )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when TRL is first imported, below
    pairs = preferences.load(preferences.SHIPPED if data is None else data)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        if rewards:
            pairs, more = read_alone(pairs, spec)
            notes += more
        pairs, assumed = completed(pairs, spec)
        notes += [
            f"{name} reads {column}, which the pairs do not have: it is {ASSUMED[column]:g} for every pair"
            for column in assumed
        ]
        held_out, train = _split(pairs, seed, steps * batch_size)
        if learns and "annotator" in pairs[0]:
            held_out, train, more = of_known(held_out, train)
            notes += more
        short = [shortened(pair, max_length) for pair in held_out]
        judge = None if reward_model is None else Judge(Path(reward_model), short)
        trainer = trainer_of(
            spec, train, held_out, folder, steps, seed, batch_size, learning_rate, max_length, learns=learns
        )
        show(f"{spec.title} ({spec.paper}), {steps} steps of {batch_size} pairs, learning rate {learning_rate:g}")
        show(f"{spec!r}{', whose reliability is learnt' * learns}")
        for note in notes:
            show(note)
        show(f"{len(train)} pairs to train on, {len(held_out)} held out; {trainer.model.num_parameters():,} parameters")
        before = _finite(_measured(trainer.evaluate(), "eval_"), "before any step")
        earlier = judge and judge.written(trainer.model, trainer.processing_class, seed)
        trainer.train()
        curves = {
            prefix: {log["step"]: _measured(log, prefix) for log in trainer.state.log_history if f"{prefix}loss" in log}
            for prefix in ("", "eval_")
        }
        held_out_curve = {**curves["eval_"], 0: before}
        if steps not in held_out_curve:
            held_out_curve[steps] = _measured(trainer.evaluate(), "eval_")
        after = _finite(held_out_curve[steps], f"after {steps} steps")
        reliability = trainer.reliabilities() if learns else {}
        judged = None
        if judge and earlier:
            later = judge.written(trainer.model, trainer.processing_class, seed)
            judged = Judged(len(judge.pairs), earlier, later, judge.side("chosen"), judge.side("rejected"))
        if save is not None:
            trainer.save_model(os.fspath(save))
    training, measured = (sorted(curve.items()) for curve in (curves[""], held_out_curve))
    counts = len(train), len(held_out)
    result = Result(
        name,
        *counts,
        before,
        after,
        training,
        measured,
        reliability,
        Path(out),
        judged,
        repr(spec),
        seed,
        versions(PACKAGES),
    )
    _draw(result, spec)
    for line in _report(result, "mean score" if rewards else "mean implicit reward"):
        show(line)
    if save is not None:
        show(f"model: {save}")
        if rewards:
            show(f"it scores what a policy writes: poz demo --objective orpo --reward-model {save}")
    return result


def interval(accuracy: float, pairs: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy on so many pairs; of 0 and 1 it has a width too."""
    z = 1.959964
    middle = accuracy + z**2 / (2 * pairs)
    reach = z * math.sqrt(accuracy * (1 - accuracy) / pairs + z**2 / (4 * pairs**2))
    low, high = ((middle + end) / (1 + z**2 / pairs) for end in (-reach, reach))
    return max(low, 0.0), min(high, 1.0)


def _bound(objective: str | Objective, params: Mapping[str, Any]) -> tuple[Objective, list[str]]:
    """The objective with its hyper-parameters, and what is assumed for it."""
    if not isinstance(objective, str):
        return objective.bind(**params), []
    spec = zoo[objective]
    settings = {name: value for name, value in PARAMS.get(spec.name, {}).items() if name not in params}
    changed = (f"{name}={value!r} (default {spec.values[name]!r})" for name, value in settings.items())
    notes = [f"set for a tiny model and few steps: {', '.join(changed)}"] if settings else []
    spec = spec.bind(**settings, **params)
    if spec.name == "lcpo" and "reliability" in params:
        notes += ["the reliability is the given one; leave it out, and it is learnt"]
    if "kl_logps" not in spec.reads or "estimator" in params:
        return spec, notes
    said = f"{objective} reads samples for K, the KL of policy and reference, which pairs do not bring: K is 0"
    return spec.bind(estimator="zero"), [*notes, said]


def _report(result: Result, reward: str) -> Iterator[str]:
    yield f"{'held-out pairs':16}{'before':>24}{'after':>24}"
    for row in Measured._fields:
        cells = []
        for measured in (result.before, result.after):
            low, high = interval(measured.accuracy, result.held_out_pairs)
            cells.append(f"{getattr(measured, row):.4g}" + f" ({low:.2f} to {high:.2f})" * (row == "accuracy"))
        yield f"{row:16}{cells[0]:>24}{cells[1]:>24}"
    if judged := result.judged:
        cells = [f"{mean:.4g} ± {error:.3f}" for mean, error in (judged.before, judged.after)]
        yield f"{'reward':16}{cells[0]:>24}{cells[1]:>24}"
    yield f"margin: {reward} of chosen minus that of rejected"
    yield "accuracy: how often that is positive (Wilson's 95 % interval); chance is 1/2"
    if judged:
        of = f"mean score of {judged.completions} completions that the policy writes, ± its standard error"
        yield f"reward: {of}; of chosen ones {judged.chosen.mean:.4g}, of rejected ones {judged.rejected.mean:.4g}"
    found = result.reliability
    if len(found) > FEW:
        least, mean, greatest = min(found.values()), sum(found.values()) / len(found), max(found.values())
        yield f"reliability of {len(found)} annotators: least {least:.3f}, mean {mean:.3f}, greatest {greatest:.3f}"
    for annotator, value in found.items() if len(found) <= FEW else ():
        yield f"reliability of {'the labels' if annotator is None else f'annotator {annotator}'}: {value:.3f}"
    yield made_with(result.seed, result.versions)
    yield f"curves: {result.picture}"


def _split(
    pairs: list[preferences.Pair], seed: int, wanted: int
) -> tuple[list[preferences.Pair], list[preferences.Pair]]:
    if len(pairs) < 5:
        raise ValueError(f"The demo needs at least 5 pairs, to hold some out; got {len(pairs)}.")
    random.Random(seed).shuffle(pairs)
    count = min(HELD_OUT, len(pairs) // 5)
    held_out = pairs[:count]
    asked = {pair["prompt"] for pair in held_out if pair["prompt"]}  # lists give several pairs of one prompt
    train = [pair for pair in pairs[count:] if pair["prompt"] not in asked]
    if not train:
        raise ValueError(f"All {len(pairs)} pairs share the prompts of those to hold out, so none is left to train on.")
    return held_out, train[:wanted]


def _measured(metrics: dict[str, float], prefix: str) -> Measured:
    rewards = f"{prefix}margin" in metrics
    names = ("loss", "margin", "accuracy") if rewards else ("loss", "rewards/margins", "rewards/accuracies")
    loss, margin, accuracy = (metrics[f"{prefix}{key}"] for key in names)
    return Measured(loss, margin, 0.5 if margin == accuracy == 0 else accuracy)


def _finite(measured: Measured, when: str) -> Measured:
    if not math.isfinite(measured.loss):
        raise FloatingPointError(
            f"The loss on held-out pairs is {measured.loss} {when}. Look at the data's numbers and at the rate."
        )
    return measured


def _draw(result: Result, objective: Objective) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, 3), Measured._fields, strict=True):
        for curve, label, style in (
            (result.training, "training batches", "-"),
            (result.held_out, "held-out pairs", "o-"),
        ):
            axes.plot(
                [step for step, _ in curve], [getattr(m, name) for _, m in curve], style, label=label, markersize=4
            )
        if name == "accuracy":
            axes.axhline(0.5, color="gray", linestyle=":", label="chance")
        axes.set(title=name, xlabel="step")
        axes.grid(alpha=0.3)
    figure.axes[-1].legend()
    figure.suptitle(f"{objective.title}, a tiny Llama")
    figure.supxlabel(made_with(result.seed, result.versions), fontsize="small", color="dimgray")
    figure.savefig(result.picture, dpi=120)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what TRL and its friends say about themselves; leaves the progress bar of the training."""
    try:
        import datasets
        import matplotlib  # noqa: F401 - rather now than after the training
        import trl  # noqa: F401
    except ImportError as error:
        raise ImportError(f"The demo needs TRL and matplotlib: pip install 'poz[trl,plot]'. {error}") from error
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # TRL 1.16 reads a property that transformers 5.23 renamed.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            yield
    finally:
        if not bars:
            datasets.enable_progress_bars()
