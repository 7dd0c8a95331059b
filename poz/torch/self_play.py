"""Self-play around any trainer: what the policy writes is judged, scored under the policies before it, and trained on."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from poz.families import Pairs
from poz.objective import Objective
from poz.torch._methods import MIXTURE, REFERENCE, bound, calibrated, check, method_of, plays
from poz.torch._policies import Mixture, Policy, at, check_fits, copy_of, learned, size
from poz.torch._turn import Turn, version
from poz.torch.completions import Completions, token_logps
from poz.torch.extragradient import Extragradient
from poz.zoo import zoo


class _Judged(NamedTuple):
    completions: Completions
    wins: Tensor | None
    winrates: Tensor
    ties: float


class SelfPlay:
    """The rounds of INPO, MNPO, SPPO, RSPO, ONPO, Nash-MD, EGPO, VPO and SELM, and of other objectives on pairs.

        play = poz.torch.SelfPlay(model, poz.mnpo.bind(eta=1.0, tau=0.2), generate, judge, history=2)
        for prompts in rounds:
            for turn in play.round(prompts):         # two turns of ONPO and EGPO, else one
                for rows in batches(len(turn)):      # here, or in any trainer's loss
                    turn.losses(model, rows).mean().backward()
                    optimizer.step()
                    optimizer.zero_grad()

    In a round the policy writes completions, and one tensor of tokens is scored under all policies. docs/selfplay.md has who
    writes what, and what a method keeps.

    Args:
        model: The policy, a module that is trained in place; of what does not require a gradient no copy is made.
        objective: A name, or an objective with its hyper-parameters bound.
        generate: `generate(policy, prompts)` gives `Completions` that a policy writes, sampled at a temperature of 1. The
            policy is the model with the weights of one, or for Nash-MD a mixture, which is called alike and has transformers'
            `generate`.
        judge: `judge(completions, rivals)` gives (prompts, K, M) probabilities that a completion beats a rival of the same
            prompt. Rivals most often are the completions themselves: P and its transpose then sum to 1, the diagonal is not read.
        history: How many policies MNPO plays, the newest first; the first rounds play those that there are, with the weights
            of these scaled to the same sum.
        mixture: Nash-MD's share of the reference, in [0, 1], in the mixture that rivals are drawn from.
        reference: "start", the policy as it is now, or "last", that which each round begins with; None is the method's own,
            "last" for SELM, else "start".
        optimizer: EGPO's, which goes back to where the round began.
        score: Another function than (prompts, K, tokens) log-probs of `score(model, completions)`, with gradients.
        chunk: Prompts that are scored at once without gradients; all if not given.
        device: Where copies of policies stay, such as "cpu"; with the model if not given.

    Raises:
        TypeError: No objective.
        ValueError: An objective that reads what self-play does not make, or an argument that its method does not use.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: str | Objective,
        generate: Callable[[Any, Any], Completions],
        judge: Callable[[Completions, Completions], Tensor],
        *,
        history: int = 1,
        mixture: float | None = None,
        reference: str | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        score: Callable[[Any, Completions], Tensor] = token_logps,
        chunk: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        chosen = zoo[objective] if isinstance(objective, str) else objective
        if not isinstance(chosen, Objective):
            raise TypeError(f"objective must be a name or a poz.Objective; got {type(chosen).__name__}.")
        check(chosen, history, mixture, reference, optimizer)
        learned(model)  # which says if nothing is
        self.model, self.objective, self._method = model, chosen, method_of(chosen)
        self.generate, self.judge, self._token_logps = generate, judge, score
        self._share, self._chunk, self._device = mixture, chunk, device
        self._half = None if optimizer is None else Extragradient(optimizer)
        self._last = (reference or self._method.reference) == "last"
        referred = not chosen.reference_free or calibrated(chosen) or self._method.needs_reference
        self._reference = copy_of(model, device) if referred and not self._last else None
        self._base = copy_of(model, device) if self._method.turns == "optimistic" else None
        self._older: deque[Policy] = deque(maxlen=history - 1)

    @property
    def bytes(self) -> int:
        """What the copies of policies hold; one more is made while another policy is in the model."""
        return sum(size(policy) for policy in (self._reference, self._base, *self._older) if policy is not None)

    def state_dict(self) -> dict[str, Any]:
        """The policies that are kept, for a run that goes on later."""
        return {"reference": self._reference, "base": self._base, "older": list(self._older)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave, before the first round.

        Raises:
            ValueError: Of another method, of a longer history, of another model, or no state.
        """
        if missing := {"reference", "base", "older"} - {*state}:
            raise ValueError(f"That is no state of SelfPlay; it has no {', '.join(sorted(missing))}.")
        kept = {"reference": self._reference, "base": self._base}
        if [name for name, x in kept.items() if (x is None) != (state[name] is None)] or len(state["older"]) > (
            self._older.maxlen or 0
        ):
            raise ValueError(
                f"The state is of another method, reference or history than `{self.objective.name}` has here."
            )
        for policy in (state["reference"], state["base"], *state["older"]):
            if policy is not None:
                check_fits(self.model, policy)
        self._reference, self._base = state["reference"], state["base"]
        self._older = deque(state["older"], maxlen=self._older.maxlen)

    def round(self, prompts: Any) -> Iterator[Turn]:
        """The turns of a round, each to be trained on before the next is asked for.

        Args:
            prompts: Whatever `generate` takes.

        Warns:
            UserWarning: Completions were cut before their end.

        Raises:
            TypeError: `generate` or `judge` gave something else.
            ValueError: A completion without a token, a probability outside of [0, 1], judgements that do not fit together,
                or nothing to compare.
        """
        if self._method.turns == "optimistic":
            data = self._judged(prompts)
            yield self._turn(data, [self._summed(self._base, data.completions)])
            self._base = copy_of(self.model, self._device)
            yield self._turn(data, [self._summed(None, data.completions)])
        elif self._half is not None:
            self._half.keep()
            yield self._turn(self._judged(prompts))
            midpoint = self._turn(self._judged(prompts))
            self._half.back()
            yield midpoint
        else:
            data = self._judged(prompts)
            played = (None, *self._older) if plays(self.objective) else ()
            opponents = [self._summed(policy, data.completions) for policy in played]
            calibration = None
            if calibrated(self.objective):
                calibration = data.completions if self._last else self._written(REFERENCE, prompts, data.completions)
            if self._older.maxlen:
                self._older.appendleft(copy_of(self.model, self._device))
            yield self._turn(data, opponents, calibration)

    def _judged(self, prompts: Any) -> _Judged:
        completions, others = self._written(self._method.writer, prompts), self._method.rivals
        rivals = self._written(others, prompts, completions) if others else completions
        wins = self.judge(completions, rivals)
        wanted = (*completions.mask.shape[:2], rivals.mask.shape[1])
        if not isinstance(wins, Tensor) or not wins.is_floating_point():
            raise TypeError(
                f"The judge must give a tensor of probabilities; got {getattr(wins, 'dtype', type(wins).__name__)}."
            )
        if tuple(wins.shape) != wanted:
            raise ValueError(
                f"The judge must give {wanted}, (prompts, completions, rivals); got {tuple(wins.shape)}. Of scores r of a reward "
                "model they are torch.sigmoid(r[:, :, None] - r[:, None, :])."
            )
        itself = torch.eye(wanted[2], dtype=torch.bool, device=wins.device) if not others else wins.new_zeros(()).bool()
        wins = wins.detach().masked_fill(itself, 0.5)
        inside = (wins >= 0) & (wins <= 1)
        if not bool(inside.all()):
            raise ValueError(
                f"The judge must give probabilities in [0, 1]; got {wins[~inside][0].item()}. Of scores take torch.sigmoid."
            )
        games = (~itself).expand_as(wins)
        ties = int(((wins == 0.5) & games).sum()) / max(int(games.sum()), 1)
        winrates = (wins * rivals.shares(wins)[:, None]).sum(-1)
        if others:
            return _Judged(completions, None, winrates, ties)
        off = (wins + wins.transpose(1, 2) - 1).abs().max().item()
        if off > 8 * torch.finfo(wins.dtype).eps:  # of two roundings, and that of their sum
            raise ValueError(
                f"Of two completions one wins, so P and its transpose must sum to 1; they are off by {off:.3g}. A judge that "
                "minds which one it reads first is asked both ways: (P + 1 - P.transpose(1, 2)) / 2."
            )
        return _Judged(completions, wins, winrates, ties)

    def _written(self, who: str, prompts: Any, like: Completions | None = None) -> Completions:
        reference = who == REFERENCE and not self._last
        with at(self.model, self._reference if reference else None):
            writer: Any = self.model
            if who == MIXTURE and self._reference is not None and self._share is not None:
                writer = Mixture(self.model, self._reference, self._share)
            written = self.generate(writer, prompts)
        if not isinstance(written, Completions):
            raise TypeError(f"generate must give poz.torch.Completions; got {type(written).__name__}.")
        written.check()
        if like is not None and len(written.mask) != len(like.mask):
            raise ValueError(f"generate gave completions of {len(like.mask)} prompts, and then of {len(written.mask)}.")
        if written.cut is not None and (cut := int(written.cut.sum())):
            warnings.warn(
                f"{cut} of {written.cut.numel()} completions were cut before their end, and are judged and trained on as the "
                "prefixes that they are. Let generate write more tokens.",
                stacklevel=4,
            )
        return written

    def _scored(self, policy: Policy | None, completions: Completions) -> Tensor:
        with at(self.model, policy):
            size = self._chunk or len(completions.mask)
            parts = [slice(low, low + size) for low in range(0, len(completions.mask), size)]
            found = torch.cat([self._token_logps(self.model, completions.rows(part)) for part in parts])
        if found.shape != completions.mask.shape:
            raise ValueError(
                f"score must give {tuple(completions.mask.shape)}, a log-prob for each token; got {tuple(found.shape)}."
            )
        return found

    def _summed(self, policy: Policy | None, completions: Completions) -> Tensor:
        return self._scored(policy, completions).sum(-1)

    def _turn(self, data: _Judged, opponents: Sequence[Tensor] = (), calibration: Completions | None = None) -> Turn:
        completions, same = data.completions, data.completions.same()
        if (self.objective.family is Pairs or not self._method.rivals) and bool(same.all()):
            raise ValueError(
                "On each prompt all completions are the same, so none is better than another. Let generate sample more, or "
                "others."
            )
        referred = not self.objective.reads.isdisjoint(("ref_chosen", "ref_logps"))
        return Turn(
            bound(self.objective, len(opponents)),
            completions,
            data.winrates,
            data.wins,
            self._scored(self._reference, completions) if referred else None,
            torch.stack([*opponents]) if opponents else None,
            calibration,
            None if calibration is None else self._summed(self._reference, calibration),
            {
                "prompts": len(same),
                "completions": completions.mask[..., 0].numel(),
                "cut": 0 if completions.cut is None else int(completions.cut.sum()),
                "same": int(same.sum()),
                "ties": data.ties,
                "tokens": completions.mask.sum(-1).double().mean().item(),
            },
            self._token_logps,
            version(self.model) if self._method.on_policy else None,
        )
