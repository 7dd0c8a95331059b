"""What an objective is for: a closed list of purposes in the field's terms, and why an objective is said to serve one."""

from __future__ import annotations

from typing import NamedTuple

PURPOSES = {
    "noisy-labels": "Some labels are flipped.",
    "annotators": "Several annotators, some more reliable than others.",
    "ties": "Some pairs are ties, or labels are probabilities.",
    "scores": "It is known by how much chosen is better: rewards, margins, win rates.",
    "uneven-pairs": "Some pairs are clearer, or more informative, than others.",
    "certain-preferences": "No label contradicts another, so that margins would grow without end.",
    "length-bias": "Long completions are preferred for their length, or grow in training.",
    "displacement": "Likelihood displacement: chosen completions become less likely while margins grow.",
    "over-optimisation": "What is learned is exploited beyond the data: more is needed than a KL divergence.",
    "wrong-reference": "The reference ranks wrongly, or is too weak to stay near to.",
    "reference-free": "No reference policy is at hand, or it costs too much.",
    "one-stage": "Fine-tuning and preferences in one stage.",
    "no-tuning": "There is no budget to tune hyper-parameters.",
    "k-responses": "A list of completions for each prompt, with an order or scores.",
    "binary-feedback": "Single completions that are good or bad.",
    "unpaired-data": "Good and bad completions that do not answer the same prompts.",
    "intransitive": "Preferences with cycles, which no reward explains.",
    "groups": "Groups of prompts or annotators, the worst of which counts.",
    "goals": "Several goals, or a preference beside a constraint.",
    "tastes": "Annotators who disagree because they want different things.",
    "token-credit": "Some tokens, or steps, matter more than others.",
    "online": "Completions come from the policy, round by round.",
    "exploration": "The policy should try what the data has not.",
    "diversity": "Answers should stay diverse.",
    "off-policy": "Completions come from an older policy, or another engine.",
    "stable-steps": "Ratios of probabilities, or entropy, run away in reinforcement learning.",
    "images": "Diffusion models.",
    "unlearning": "Completions to forget.",
    "reward-model": "A model of rewards or preferences is wanted, not a policy.",
}


class Answer(NamedTuple):
    """A purpose that an objective serves, with at least one reason.

    Attributes:
        to: Of `PURPOSES`.
        paper: Where the paper claims it, and what; "second hand: ..." where the paper itself was not read.
        test: The test that reproduces it, as file::function below tests/.
        world: The world of `poz worlds` that shows it.
    """

    to: str
    paper: str = ""
    test: str = ""
    world: str = ""
