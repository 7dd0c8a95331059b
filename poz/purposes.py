"""What an objective is for: a closed list of purposes in the field's terms, and why an objective is said to serve one."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from poz.families import Layout

PURPOSES = {
    "noisy-labels": "Some labels are flipped.",
    "annotators": "Several annotators, some more reliable than others.",
    "disagreement": "Annotators disagree because they want different things.",
    "groups": "Groups of prompts or annotators, the worst of which counts.",
    "goals": "Several goals, or a preference beside a constraint.",
    "ties": "Some pairs are ties, or labels are probabilities.",
    "preference-strength": "It is known by how much chosen is better: rewards, margins, win rates.",
    "uneven-pairs": "Some pairs are clearer, or more informative, than others.",
    "overfitting": "No label contradicts another, so that margins grow without end.",
    "length-bias": "Length counts by itself: long completions are preferred or punished for it, or grow in training.",
    "displacement": "Likelihood displacement: chosen completions become less likely while margins grow.",
    "over-rejection": "Rejected completions are pushed down too far, or though they are hardly worse.",
    "over-optimisation": "What is learned is exploited beyond the data: more is needed than a KL divergence.",
    "wrong-reference": "The reference ranks wrongly, or is too weak to stay near to.",
    "weak-completions": "Even chosen completions are worse than what the policy writes.",
    "reference-free": "No reference policy is at hand, or it costs too much.",
    "one-stage": "Fine-tuning and preferences in one stage.",
    "no-tuning": "There is no budget to tune hyper-parameters.",
    "k-responses": "A list of completions for each prompt, with an order or scores.",
    "binary-feedback": "Single completions that are good or bad.",
    "scalar-feedback": "Completions with a reward of their own, compared with no other.",
    "unpaired-data": "Good and bad completions that do not answer the same prompts.",
    "prompts": "Which prompt, or which image, a completion answers is ignored, or is what is compared.",
    "intransitive": "Preferences with cycles, which no reward explains.",
    "token-credit": "Some tokens, or steps, matter more than others.",
    "online": "Completions come from the policy, round by round.",
    "off-policy": "Completions come from an older policy, or from another model.",
    "engine-mismatch": "The engine that samples and the one that trains give other log-probs.",
    "exploration": "The policy should try what the data has not.",
    "diversity": "Answers should stay diverse.",
    "trust-region": "Steps of reinforcement learning that are too far, or that clipping stops wrongly.",
    "entropy-collapse": "Entropy collapses in reinforcement learning.",
    "no-critic": "Reinforcement learning without a model of values.",
    "images": "Diffusion models.",
    "unlearning": "Completions to forget.",
    "reward-model": "A model of rewards or preferences is wanted, not a policy.",
}
"""Each purpose, and the situation in which it is asked for."""


class Answer(NamedTuple):
    """A purpose that an objective serves, with at least one reason.

    Attributes:
        to: Of `PURPOSES`.
        paper: Where its authors claim it, and what: "abstract: ...", "section 4.2: ...", "the authors' README: ..."; or
            "second hand: ..." where others say so of them.
        test: The test that reproduces it, as file::function below tests/.
        world: The world of `poz worlds` that shows it.
        under: The hyper-parameters that it takes, where the defaults do not do it.
        against: The world of `poz worlds` in which it is contradicted; such an answer is kept as a claim, and counts as none.
        reads: What the objective is given, which proves it; nobody writes that, `proved` finds it.
    """

    to: str
    paper: str = ""
    test: str = ""
    world: str = ""
    under: str = ""
    against: str = ""
    reads: str = ""

    @property
    def why(self) -> str:
        """All its reasons, in a line."""
        test, world = f"tests/{self.test}" * bool(self.test), f"`poz worlds`: {self.world}" * bool(self.world)
        under, against = (
            f"under {self.under}" * bool(self.under),
            f"against it `poz worlds`: {self.against}" * bool(self.against),
        )
        return "; ".join(filter(None, (self.reads, under, self.paper, test, world, against)))


def other_policies(reads: Collection[str]) -> list[str]:
    """Those fields that are of the reference, of the last iteration's policy or of opponents: of models to keep and to run."""
    return [name for name in reads if name.startswith(("ref_", "anchor_", "opponents_"))]


def proved(layout: Layout, reads: Collection[str], optional: Collection[str]) -> dict[str, str]:
    """The purposes that the fields alone prove, each with how, in a sentence."""
    used = {*reads, *optional}
    found = {
        "ties": ("label" in used, "It reads label, the probability that chosen is better: 1/2 where neither is."),
        "reference-free": (
            not (layout.scores or other_policies(reads)),
            "It reads nothing of a reference, an opponent or a policy of the last round.",
        ),
        "k-responses": (
            layout.lists and not used.isdisjoint((*layout.masks.values(), "winrates")),
            "It reads a list of completions for each prompt, of any length.",
        ),
        "binary-feedback": ("desirable" in used, "It reads desirable, whether a completion is a good one."),
        "unpaired-data": ("desirable" in used, "It reads completions without a rival, and desirable."),
        "engine-mismatch": (
            "sampler_logps" in used,
            "It reads sampler_logps, by which any correction but 'none', its default, corrects.",
        ),
        "images": (layout.errors, "It reads errors of denoising."),
        "reward-model": (layout.scores, "It reads outputs of a model of rewards or preferences."),
    }
    return {purpose: why for purpose, (holds, why) in found.items() if holds}
