"""What each objective takes, for type checkers and completion. Written by tests/stubs.py."""
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar, overload

from poz.families import Denoising, Pairs, Ranked, RewardPairs, Rollouts, Samples, TokenPairs, Unpaired
from poz.objective import Objective
from poz.zoo import Zoo

A = TypeVar("A")

class Array(Protocol):
    """A number, or one per example, of NumPy, torch or JAX."""

    @property
    def dtype(self) -> object: ...
    @property
    def shape(self) -> Sequence[int]: ...

class _Reinforce(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Reinforce: ...

reinforce: _Reinforce

class _PpoClip(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        dual_clip: float | Array | None = ...,
        ratio_cap: float | Array | None = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        dual_clip: float | Array | None = ...,
        ratio_cap: float | Array | None = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _PpoClip: ...

ppo_clip: _PpoClip

class _Sft(Objective):
    def __call__(self, batch: Pairs[A], /, *, normalizer: Literal["sum", "mean", "batch_tokens"] = ...) -> A: ...
    def bind(self, *, normalizer: Literal["sum", "mean", "batch_tokens"] = ...) -> _Sft: ...

sft: _Sft

class _BradleyTerry(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
        *,
        temperature: float | Array = ...,
        tie_weight: float | Array = ...,
        centering: float | Array = ...,
    ) -> A: ...
    def bind(
        self, *, temperature: float | Array = ..., tie_weight: float | Array = ..., centering: float | Array = ...
    ) -> _BradleyTerry: ...

bradley_terry: _BradleyTerry

class _Rrhf(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        weight: float | Array = ...,
        length_power: float | Array = ...,
        nll: Literal["mean", "sum"] = ...,
    ) -> A: ...
    def bind(
        self, *, weight: float | Array = ..., length_power: float | Array = ..., nll: Literal["mean", "sum"] = ...
    ) -> _Rrhf: ...

rrhf: _Rrhf

class _SlicHf(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, delta: float | Array = ..., regularization_weight: float | Array = ...
    ) -> A: ...
    def bind(self, *, delta: float | Array = ..., regularization_weight: float | Array = ...) -> _SlicHf: ...

slic_hf: _SlicHf

class _Dpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> _Dpo: ...

dpo: _Dpo

class _PlackettLuce(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., stages: float | Array | None = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., stages: float | Array | None = ...) -> _PlackettLuce: ...

plackett_luce: _PlackettLuce

class _RankHinge(Objective):
    def __call__(self, batch: RewardPairs[A], /, *, bound: float | Array = ...) -> A: ...
    def bind(self, *, bound: float | Array = ...) -> _RankHinge: ...

rank_hinge: _RankHinge

class _Pro(Objective):
    def __call__(
        self, batch: Ranked[A], /, *, sft_weight: float | Array = ..., temperature: Literal["reward_gap", "none"] = ...
    ) -> A: ...
    def bind(self, *, sft_weight: float | Array = ..., temperature: Literal["reward_gap", "none"] = ...) -> _Pro: ...

pro: _Pro

class _Heron(Objective):
    def __call__(self, batch: RewardPairs[A], /, *, delta: Sequence[float] | Array | None = ...) -> A: ...
    def bind(self, *, delta: Sequence[float] | Array | None = ...) -> _Heron: ...

heron: _Heron

class _Hinge(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Hinge: ...

hinge: _Hinge

class _FDpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = ...,
        alpha: float | Array = ...,
        convention: Literal["paper", "trl"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = ...,
        alpha: float | Array = ...,
        convention: Literal["paper", "trl"] = ...,
    ) -> _FDpo: ...

f_dpo: _FDpo

class _Auxiliary(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
    ) -> A: ...
    def bind(
        self,
    ) -> _Auxiliary: ...

auxiliary: _Auxiliary

class _Modpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., weight: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., weight: float | Array = ...) -> _Modpo: ...

modpo: _Modpo

class _Ipo(Objective):
    def __call__(self, batch: Pairs[A], /, *, tau: float | Array = ..., length_normalized: bool = ...) -> A: ...
    def bind(self, *, tau: float | Array = ..., length_normalized: bool = ...) -> _Ipo: ...

ipo: _Ipo

class _Cpl(Objective):
    def __call__(
        self,
        batch: TokenPairs[A],
        /,
        *,
        alpha: float | Array = ...,
        bias: float | Array = ...,
        discount: float | Array = ...,
        regularizer: Literal["none", "kl"] = ...,
        bc_weight: float | Array = ...,
        bc_data: Literal["all", "preferred"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        alpha: float | Array = ...,
        bias: float | Array = ...,
        discount: float | Array = ...,
        regularizer: Literal["none", "kl"] = ...,
        bc_weight: float | Array = ...,
        bc_data: Literal["all", "preferred"] = ...,
    ) -> _Cpl: ...

cpl: _Cpl

class _CplRanking(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        alpha: float | Array = ...,
        bias: float | Array = ...,
        regularizer: Literal["none", "kl"] = ...,
    ) -> A: ...
    def bind(
        self, *, alpha: float | Array = ..., bias: float | Array = ..., regularizer: Literal["none", "kl"] = ...
    ) -> _CplRanking: ...

cpl_ranking: _CplRanking

class _DiffusionDpo(Objective):
    def __call__(
        self,
        batch: Denoising[A],
        /,
        *,
        beta: float | Array = ...,
        first: float | Array | None = ...,
        last: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., first: float | Array | None = ..., last: float | Array | None = ...
    ) -> _DiffusionDpo: ...

diffusion_dpo: _DiffusionDpo

class _Ddpo(Objective):
    def __call__(
        self, batch: TokenPairs[A], /, *, beta: float | Array = ..., gamma: float | Array = ..., normalize: bool = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., gamma: float | Array = ..., normalize: bool = ...) -> _Ddpo: ...

ddpo: _Ddpo

class _NashMd(Objective):
    def __call__(
        self,
        batch: TokenPairs[A],
        /,
        *,
        tau: float | Array = ...,
        kl_credit: Literal["sequence", "to_go", "token"] = ...,
    ) -> A: ...
    def bind(self, *, tau: float | Array = ..., kl_credit: Literal["sequence", "to_go", "token"] = ...) -> _NashMd: ...

nash_md: _NashMd

class _RewardContrastive(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
        *,
        temperature: float | Array = ...,
        items: Literal["embeddings", "differences"] = ...,
    ) -> A: ...
    def bind(
        self, *, temperature: float | Array = ..., items: Literal["embeddings", "differences"] = ...
    ) -> _RewardContrastive: ...

reward_contrastive: _RewardContrastive

class _AdaptiveMargin(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
        *,
        margin_scale: float | Array = ...,
        flip_below: float | Array | None = ...,
        smooth_below: float | Array | None = ...,
        label_smoothing: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        margin_scale: float | Array = ...,
        flip_below: float | Array | None = ...,
        smooth_below: float | Array | None = ...,
        label_smoothing: float | Array = ...,
    ) -> _AdaptiveMargin: ...

adaptive_margin: _AdaptiveMargin

class _Cpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        nll: Literal["mean", "batch_tokens", "sum"] = ...,
        label_smoothing: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        nll: Literal["mean", "batch_tokens", "sum"] = ...,
        label_smoothing: float | Array = ...,
    ) -> _Cpo: ...

cpo: _Cpo

class _Exo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> _Exo: ...

exo: _Exo

class _ExoK(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., reward_beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., reward_beta: float | Array = ...) -> _ExoK: ...

exo_k: _ExoK

class _Kto(Objective):
    def __call__(
        self,
        batch: Unpaired[A],
        /,
        *,
        beta: float | Array = ...,
        desirable_weight: float | Array = ...,
        undesirable_weight: float | Array = ...,
        estimator: Literal["mean", "nonzero_mean", "given", "zero"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        desirable_weight: float | Array = ...,
        undesirable_weight: float | Array = ...,
        estimator: Literal["mean", "nonzero_mean", "given", "zero"] = ...,
    ) -> _Kto: ...

kto: _Kto

class _AllPairs(Objective):
    def __call__(
        self, batch: Ranked[A], /, *, beta: float | Array = ..., link: Literal["logistic", "hinge"] = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., link: Literal["logistic", "hinge"] = ...) -> _AllPairs: ...

all_pairs: _AllPairs

class _LipoLambda(Objective):
    def __call__(
        self, batch: Ranked[A], /, *, beta: float | Array = ..., discount: Literal["log1p", "log2"] = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., discount: Literal["log1p", "log2"] = ...) -> _LipoLambda: ...

lipo_lambda: _LipoLambda

class _Listnet(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., tau: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., tau: float | Array = ...) -> _Listnet: ...

listnet: _Listnet

class _Grpo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Grpo: ...

grpo: _Grpo

class _InfoNca(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _InfoNca: ...

info_nca: _InfoNca

class _Nca(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _Nca: ...

nca: _Nca

class _GpoLink(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        link: Literal["exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        link: Literal["exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge"] = ...,
    ) -> _GpoLink: ...

gpo_link: _GpoLink

class _Odpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        offset: Literal["log", "linear"] = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., alpha: float | Array = ..., offset: Literal["log", "linear"] = ...
    ) -> _Odpo: ...

odpo: _Odpo

class _RelativePo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        temperature: float | Array = ...,
        diagonal_weight: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        temperature: float | Array = ...,
        diagonal_weight: float | Array | None = ...,
    ) -> _RelativePo: ...

relative_po: _RelativePo

class _Dpop(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., penalty: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., penalty: float | Array = ...) -> _Dpop: ...

dpop: _Dpop

class _Rloo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Rloo: ...

rloo: _Rloo

class _RobustDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> _RobustDpo: ...

robust_dpo: _RobustDpo

class _Orpo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, odds_weight: float | Array = ..., nll: Literal["mean", "batch_tokens"] = ...
    ) -> A: ...
    def bind(self, *, odds_weight: float | Array = ..., nll: Literal["mean", "batch_tokens"] = ...) -> _Orpo: ...

orpo: _Orpo

class _OnlineIpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, tau: float | Array = ...) -> A: ...
    def bind(self, *, tau: float | Array = ...) -> _OnlineIpo: ...

online_ipo: _OnlineIpo

class _RDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _RDpo: ...

r_dpo: _RDpo

class _Dove(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Dove: ...

dove: _Dove

class _Dno(Objective):
    def __call__(self, batch: Pairs[A], /, *, eta: float | Array = ..., target: Literal["soft", "hard"] = ...) -> A: ...
    def bind(self, *, eta: float | Array = ..., target: Literal["soft", "hard"] = ...) -> _Dno: ...

dno: _Dno

class _Bco(Objective):
    def __call__(self, batch: Unpaired[A], /, *, beta: float | Array = ..., baseline: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., baseline: float | Array = ...) -> _Bco: ...

bco: _Bco

class _Npo(Objective):
    def __call__(self, batch: Unpaired[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Npo: ...

npo: _Npo

class _Tdpo(Objective):
    def __call__(
        self,
        batch: TokenPairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        version: Literal["tdpo2", "tdpo1"] = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., alpha: float | Array = ..., version: Literal["tdpo2", "tdpo1"] = ...
    ) -> _Tdpo: ...

tdpo: _Tdpo

class _Rebel(Objective):
    def __call__(self, batch: Pairs[A], /, *, eta: float | Array = ...) -> A: ...
    def bind(self, *, eta: float | Array = ...) -> _Rebel: ...

rebel: _Rebel

class _Sppo(Objective):
    def __call__(self, batch: Samples[A], /, *, eta: float | Array = ...) -> A: ...
    def bind(self, *, eta: float | Array = ...) -> _Sppo: ...

sppo: _Sppo

class _Spce(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Spce: ...

spce: _Spce

class _Simpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        gamma: float | Array | None = ...,
        gamma_beta_ratio: float | Array | None = ...,
        label_smoothing: float | Array = ...,
        smoothing: Literal["trl", "swap"] = ...,
        link: Literal["logistic", "hinge"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        gamma: float | Array | None = ...,
        gamma_beta_ratio: float | Array | None = ...,
        label_smoothing: float | Array = ...,
        smoothing: Literal["trl", "swap"] = ...,
        link: Literal["logistic", "hinge"] = ...,
    ) -> _Simpo: ...

simpo: _Simpo

class _MallowsDpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        kappa: float | Array = ...,
        link: Literal["logistic", "cauchy"] = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., kappa: float | Array = ..., link: Literal["logistic", "cauchy"] = ...
    ) -> _MallowsDpo: ...

mallows_dpo: _MallowsDpo

class _RpoRegularized(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., eta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., eta: float | Array = ...) -> _RpoRegularized: ...

rpo_regularized: _RpoRegularized

class _Tpo(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        nll: Literal["mean", "batch_tokens", "sum"] = ...,
        length_normalized: bool = ...,
        gamma: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        nll: Literal["mean", "batch_tokens", "sum"] = ...,
        length_normalized: bool = ...,
        gamma: float | Array = ...,
    ) -> _Tpo: ...

tpo: _Tpo

class _Dro(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Dro: ...

dro: _Dro

class _Vpo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ..., sign: Literal[1, -1] = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ..., sign: Literal[1, -1] = ...) -> _Vpo: ...

vpo: _Vpo

class _Selm(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _Selm: ...

selm: _Selm

class _DpoGamma(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., gamma: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., gamma: float | Array = ...) -> _DpoGamma: ...

dpo_gamma: _DpoGamma

class _GrDpo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., weights: Sequence[float] | Array | None = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., weights: Sequence[float] | Array | None = ...) -> _GrDpo: ...

gr_dpo: _GrDpo

class _Xpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _Xpo: ...

xpo: _Xpo

class _Aot(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> _Aot: ...

aot: _Aot

class _AotUnpaired(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., label_smoothing: float | Array = ...) -> _AotUnpaired: ...

aot_unpaired: _AotUnpaired

class _Mapo(Objective):
    def __call__(
        self,
        batch: Denoising[A],
        /,
        *,
        ratio_weight: float | Array = ...,
        snr: float | Array = ...,
        timesteps: float | Array = ...,
    ) -> A: ...
    def bind(
        self, *, ratio_weight: float | Array = ..., snr: float | Array = ..., timesteps: float | Array = ...
    ) -> _Mapo: ...

mapo: _Mapo

class _Discopop(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., tau: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., tau: float | Array = ...) -> _Discopop: ...

discopop: _Discopop

class _Padll(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Padll: ...

padll: _Padll

class _Cell(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Cell: ...

cell: _Cell

class _Aql(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Aql: ...

aql: _Aql

class _Aqfl(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Aqfl: ...

aqfl: _Aqfl

class _Pfl(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Pfl: ...

pfl: _Pfl

class _SDpo(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _SDpo: ...

s_dpo: _SDpo

class _Sampo(Objective):
    def __call__(self, batch: TokenPairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Sampo: ...

sampo: _Sampo

class _RewardAwarePo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        eta: float | Array = ...,
        distance: Literal["squared", "backward_kl", "forward_kl"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        eta: float | Array = ...,
        distance: Literal["squared", "backward_kl", "forward_kl"] = ...,
    ) -> _RewardAwarePo: ...

reward_aware_po: _RewardAwarePo

class _Wpo(Objective):
    def __call__(
        self,
        batch: TokenPairs[A],
        /,
        *,
        beta: float | Array = ...,
        label_smoothing: float | Array = ...,
        collision: bool = ...,
        clamp: bool = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        label_smoothing: float | Array = ...,
        collision: bool = ...,
        clamp: bool = ...,
    ) -> _Wpo: ...

wpo: _Wpo

class _Mdpo(Objective):
    def __call__(self, batch: Ranked[A], /, *, beta: float | Array = ..., delta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., delta: float | Array = ...) -> _Mdpo: ...

mdpo: _Mdpo

class _StepDpo(Objective):
    def __call__(self, batch: TokenPairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _StepDpo: ...

step_dpo: _StepDpo

class _Inpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        eta: float | Array = ...,
        tau: float | Array | None = ...,
        length_normalized: bool = ...,
    ) -> A: ...
    def bind(
        self, *, eta: float | Array = ..., tau: float | Array | None = ..., length_normalized: bool = ...
    ) -> _Inpo: ...

inpo: _Inpo

class _DrDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., robustness: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., robustness: float | Array = ...) -> _DrDpo: ...

dr_dpo: _DrDpo

class _BetaDpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        mean_gap: float | Array = ...,
        floor: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        mean_gap: float | Array = ...,
        floor: float | Array = ...,
    ) -> _BetaDpo: ...

beta_dpo: _BetaDpo

class _ChiPo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., clip: float | Array | None = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., clip: float | Array | None = ...) -> _ChiPo: ...

chi_po: _ChiPo

class _LnDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _LnDpo: ...

ln_dpo: _LnDpo

class _ApoDown(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _ApoDown: ...

apo_down: _ApoDown

class _ApoZero(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _ApoZero: ...

apo_zero: _ApoZero

class _MinorDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _MinorDpo: ...

minor_dpo: _MinorDpo

class _Vpl(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
        *,
        kl_weight: float | Array = ...,
        half: bool = ...,
        clamp: float | Array | None = ...,
    ) -> A: ...
    def bind(self, *, kl_weight: float | Array = ..., half: bool = ..., clamp: float | Array | None = ...) -> _Vpl: ...

vpl: _Vpl

class _LdDpo(Objective):
    def __call__(
        self,
        batch: TokenPairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        reference: Literal["weighted", "summed"] = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., alpha: float | Array = ..., reference: Literal["weighted", "summed"] = ...
    ) -> _LdDpo: ...

ld_dpo: _LdDpo

class _AltPo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _AltPo: ...

alt_po: _AltPo

class _Gpo(Objective):
    def __call__(self, batch: Samples[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Gpo: ...

gpo: _Gpo

class _Gpm(Objective):
    def __call__(
        self,
        batch: RewardPairs[A],
        /,
        *,
        temperature: float | Array = ...,
        link: Literal["logistic", "regression", "margin_regression"] = ...,
        target: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        temperature: float | Array = ...,
        link: Literal["logistic", "regression", "margin_regression"] = ...,
        target: float | Array = ...,
    ) -> _Gpm: ...

gpm: _Gpm

class _Arpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        scale: float | Array = ...,
        rate: float | Array = ...,
        detach: bool = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        nll_weight: float | Array = ...,
        scale: float | Array = ...,
        rate: float | Array = ...,
        detach: bool = ...,
    ) -> _Arpo: ...

arpo: _Arpo

class _RainbowPo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        h: float | Array = ...,
        kappa: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        h: float | Array = ...,
        kappa: float | Array | None = ...,
    ) -> _RainbowPo: ...

rainbow_po: _RainbowPo

class _TisDpo(Objective):
    def __call__(self, batch: TokenPairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _TisDpo: ...

tis_dpo: _TisDpo

class _SimNpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        gamma: float | Array = ...,
        forget_weight: float | Array = ...,
        retain_weight: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        gamma: float | Array = ...,
        forget_weight: float | Array = ...,
        retain_weight: float | Array = ...,
    ) -> _SimNpo: ...

sim_npo: _SimNpo

class _AlphaDpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        gamma_beta_ratio: float | Array = ...,
        alpha: float | Array = ...,
        mean_gap: float | Array | None = ...,
        gap_std: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        gamma_beta_ratio: float | Array = ...,
        alpha: float | Array = ...,
        mean_gap: float | Array | None = ...,
        gap_std: float | Array | None = ...,
    ) -> _AlphaDpo: ...

alpha_dpo: _AlphaDpo

class _HDpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., alpha: float | Array = ...) -> _HDpo: ...

h_dpo: _HDpo

class _CalDpo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., calibration_weight: float | Array = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., calibration_weight: float | Array = ...) -> _CalDpo: ...

cal_dpo: _CalDpo

class _AlphaPo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., alpha: float | Array = ..., gamma: float | Array = ...
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., alpha: float | Array = ..., gamma: float | Array = ...
    ) -> _AlphaPo: ...

alpha_po: _AlphaPo

class _Simper(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
    ) -> A: ...
    def bind(
        self,
    ) -> _Simper: ...

simper: _Simper

class _DpoShift(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., shift: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., shift: float | Array = ...) -> _DpoShift: ...

dpo_shift: _DpoShift

class _MmDpo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., w: float | Array = ..., k: float | Array = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., w: float | Array = ..., k: float | Array = ...) -> _MmDpo: ...

mm_dpo: _MmDpo

class _Onpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, eta: float | Array = ...) -> A: ...
    def bind(self, *, eta: float | Array = ...) -> _Onpo: ...

onpo: _Onpo

class _Rspo(Objective):
    def __call__(
        self,
        batch: Samples[A],
        /,
        *,
        eta: float | Array = ...,
        regularization_weight: float | Array = ...,
        regularizer: Literal["reverse_kl", "forward_kl", "forward_reverse_kl", "chi2", "entropy"] = ...,
        reverse_weight: float | Array = ...,
        clamp: float | Array = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        eta: float | Array = ...,
        regularization_weight: float | Array = ...,
        regularizer: Literal["reverse_kl", "forward_kl", "forward_reverse_kl", "chi2", "entropy"] = ...,
        reverse_weight: float | Array = ...,
        clamp: float | Array = ...,
    ) -> _Rspo: ...

rspo: _Rspo

class _Dil(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, loss: Literal["lsif", "ukl", "bce"] = ..., length_normalized: bool = ...
    ) -> A: ...
    def bind(self, *, loss: Literal["lsif", "ukl", "bce"] = ..., length_normalized: bool = ...) -> _Dil: ...

dil: _Dil

class _Repo(Objective):
    def __call__(self, batch: Pairs[A], /, *, gamma: float | Array = ...) -> A: ...
    def bind(self, *, gamma: float | Array = ...) -> _Repo: ...

repo: _Repo

class _Egpo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ..., length_normalized: bool = ...) -> A: ...
    def bind(self, *, beta: float | Array = ..., length_normalized: bool = ...) -> _Egpo: ...

egpo: _Egpo

class _Topr(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        level: Literal["sequence", "token"] = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        level: Literal["sequence", "token"] = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Topr: ...

topr: _Topr

class _Dapo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Dapo: ...

dapo: _Dapo

class _DrGrpo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _DrGrpo: ...

dr_grpo: _DrGrpo

class _Gvpo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Gvpo: ...

gvpo: _Gvpo

class _Mapl(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        beta: float | Array = ...,
        intra_weight: float | Array = ...,
        inter_weight: float | Array = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., intra_weight: float | Array = ..., inter_weight: float | Array = ...
    ) -> _Mapl: ...

mapl: _Mapl

class _A2po(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _A2po: ...

a2po: _A2po

class _ClipCov(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        share: float | Array = ...,
        band_low: float | Array = ...,
        band_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        share: float | Array = ...,
        band_low: float | Array = ...,
        band_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _ClipCov: ...

clip_cov: _ClipCov

class _KlCov(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        share: float | Array = ...,
        kl_strength: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        share: float | Array = ...,
        kl_strength: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _KlCov: ...

kl_cov: _KlCov

class _Bpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        link: Literal["logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        alpha: float | Array = ...,
        link: Literal["logistic", "hinge", "square", "exponential", "truncated_quadratic", "savage"] = ...,
    ) -> _Bpo: ...

bpo: _Bpo

class _GammaPo(Objective):
    def __call__(
        self, batch: Pairs[A], /, *, beta: float | Array = ..., gamma: float | Array = ..., tau: float | Array = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., gamma: float | Array = ..., tau: float | Array = ...) -> _GammaPo: ...

gamma_po: _GammaPo

class _Confpo(Objective):
    def __call__(
        self, batch: TokenPairs[A], /, *, beta: float | Array = ..., gamma_beta_ratio: float | Array = ...
    ) -> A: ...
    def bind(self, *, beta: float | Array = ..., gamma_beta_ratio: float | Array = ...) -> _Confpo: ...

confpo: _Confpo

class _Cispo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Cispo: ...

cispo: _Cispo

class _RewardPartition(Objective):
    def __call__(self, batch: Ranked[A], /, *, tau: float | Array = ...) -> A: ...
    def bind(self, *, tau: float | Array = ...) -> _RewardPartition: ...

reward_partition: _RewardPartition

class _Qrpo(Objective):
    def __call__(
        self,
        batch: Samples[A],
        /,
        *,
        beta: float | Array = ...,
        transform: Literal["log", "identity"] = ...,
        floor: float | Array = ...,
    ) -> A: ...
    def bind(
        self, *, beta: float | Array = ..., transform: Literal["log", "identity"] = ..., floor: float | Array = ...
    ) -> _Qrpo: ...

qrpo: _Qrpo

class _Gspo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Gspo: ...

gspo: _Gspo

class _GspoToken(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _GspoToken: ...

gspo_token: _GspoToken

class _Gmpo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Gmpo: ...

gmpo: _Gmpo

class _Ranklist(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        beta: float | Array = ...,
        skips: float | Array = ...,
        decay: float | Array = ...,
        aggregate: Literal["sum", "lse"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        skips: float | Array = ...,
        decay: float | Array = ...,
        aggregate: Literal["sum", "lse"] = ...,
    ) -> _Ranklist: ...

ranklist: _Ranklist

class _Dcpo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Dcpo: ...

dcpo: _Dcpo

class _Mnpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        beta: float | Array = ...,
        eta: float | Array = ...,
        tau: float | Array | None = ...,
        weights: Sequence[float] | Array | None = ...,
        distance: Literal["squared", "backward_kl"] = ...,
        target: Literal["constant", "reward", "hard"] = ...,
        length_normalized: bool = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        beta: float | Array = ...,
        eta: float | Array = ...,
        tau: float | Array | None = ...,
        weights: Sequence[float] | Array | None = ...,
        distance: Literal["squared", "backward_kl"] = ...,
        target: Literal["constant", "reward", "hard"] = ...,
        length_normalized: bool = ...,
    ) -> _Mnpo: ...

mnpo: _Mnpo

class _Lcpo(Objective):
    def __call__(
        self,
        batch: Pairs[A],
        /,
        *,
        base: Objective = ...,
        reliability: float | Array = ...,
        mode: Literal["gibbs", "weighted"] = ...,
    ) -> A: ...
    def bind(
        self, *, base: Objective = ..., reliability: float | Array = ..., mode: Literal["gibbs", "weighted"] = ...
    ) -> _Lcpo: ...

lcpo: _Lcpo

class _Aspo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        cap_positive: float | Array = ...,
        cap_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        cap_positive: float | Array = ...,
        cap_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Aspo: ...

aspo: _Aspo

class _Amapo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Amapo: ...

amapo: _Amapo

class _Sapo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        tau_positive: float | Array = ...,
        tau_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        tau_positive: float | Array = ...,
        tau_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Sapo: ...

sapo: _Sapo

class _DppoTv(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        divergence_low: float | Array = ...,
        divergence_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        divergence_low: float | Array = ...,
        divergence_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _DppoTv: ...

dppo_tv: _DppoTv

class _DppoKl(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        divergence_low: float | Array = ...,
        divergence_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        divergence_low: float | Array = ...,
        divergence_high: float | Array = ...,
        ratio_cap: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _DppoKl: ...

dppo_kl: _DppoKl

class _Luspo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        epsilon_low: float | Array = ...,
        epsilon_high: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Luspo: ...

luspo: _Luspo

class _Vespo(Objective):
    def __call__(
        self,
        batch: Rollouts[A],
        /,
        *,
        k_positive: float | Array = ...,
        lambda_positive: float | Array = ...,
        k_negative: float | Array = ...,
        lambda_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        k_positive: float | Array = ...,
        lambda_positive: float | Array = ...,
        k_negative: float | Array = ...,
        lambda_negative: float | Array = ...,
        aggregation: Literal["sequence_mean", "token_mean", "sequence_sum"] = ...,
        length: float | Array = ...,
        count_empty: bool = ...,
        per_token: bool = ...,
        kl_weight: float | Array = ...,
        kl: Literal["k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3"] = ...,
        entropy_weight: float | Array = ...,
        correction: Literal[
            "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask"
        ] = ...,
        correction_low: float | Array = ...,
        correction_high: float | Array = ...,
        off_policy_limit: float | Array | None = ...,
    ) -> _Vespo: ...

vespo: _Vespo

class _Hypo(Objective):
    def __call__(self, batch: Pairs[A], /, *, beta: float | Array = ...) -> A: ...
    def bind(self, *, beta: float | Array = ...) -> _Hypo: ...

hypo: _Hypo

class _DdoRm(Objective):
    def __call__(
        self,
        batch: Ranked[A],
        /,
        *,
        temperature: float | Array = ...,
        tau: float | Array = ...,
        improves: Literal["policy", "reference"] = ...,
    ) -> A: ...
    def bind(
        self,
        *,
        temperature: float | Array = ...,
        tau: float | Array = ...,
        improves: Literal["policy", "reference"] = ...,
    ) -> _DdoRm: ...

ddo_rm: _DdoRm
_Purpose = Literal[
    "noisy-labels",
    "annotators",
    "disagreement",
    "groups",
    "goals",
    "ties",
    "preference-strength",
    "uneven-pairs",
    "overfitting",
    "length-bias",
    "displacement",
    "over-rejection",
    "over-optimisation",
    "wrong-reference",
    "weak-completions",
    "reference-free",
    "one-stage",
    "no-tuning",
    "k-responses",
    "binary-feedback",
    "scalar-feedback",
    "unpaired-data",
    "prompts",
    "intransitive",
    "token-credit",
    "online",
    "off-policy",
    "engine-mismatch",
    "exploration",
    "diversity",
    "trust-region",
    "entropy-collapse",
    "no-critic",
    "images",
    "unlearning",
    "reward-model",
]
_Field = Literal[
    "logps",
    "old_logps",
    "ref_logps",
    "sampler_logps",
    "entropy",
    "mask",
    "advantages",
    "token_advantages",
    "noise",
    "groups",
    "chosen",
    "rejected",
    "ref_chosen",
    "ref_rejected",
    "chosen_len",
    "rejected_len",
    "label",
    "margin",
    "annotator",
    "opponents_chosen",
    "opponents_rejected",
    "calibration",
    "ref_calibration",
    "prompt_embedding",
    "tie",
    "strength",
    "chosen_embedding",
    "rejected_embedding",
    "chosen_view",
    "rejected_view",
    "scales",
    "latent_mean",
    "latent_log_variance",
    "chosen_factors",
    "rejected_factors",
    "auxiliary",
    "lengths",
    "scores",
    "chosen_mask",
    "rejected_mask",
    "chosen_weights",
    "rejected_weights",
    "chosen_changed",
    "rejected_changed",
    "chosen_kl",
    "rejected_kl",
    "chosen_collision",
    "rejected_collision",
    "timestep",
    "desirable",
    "weights",
    "kl",
    "kl_logps",
    "kl_ref_logps",
    "anchor_logps",
    "winrates",
]
_Family = Literal["Rollouts", "Pairs", "RewardPairs", "Ranked", "TokenPairs", "Denoising", "Unpaired", "Samples"]

class _Zoo(Zoo):
    @overload
    def __getitem__(self, name: Literal["reinforce"]) -> _Reinforce: ...
    @overload
    def __getitem__(self, name: Literal["ppo_clip"]) -> _PpoClip: ...
    @overload
    def __getitem__(self, name: Literal["sft"]) -> _Sft: ...
    @overload
    def __getitem__(self, name: Literal["bradley_terry", "softmax_ce"]) -> _BradleyTerry: ...
    @overload
    def __getitem__(self, name: Literal["rrhf"]) -> _Rrhf: ...
    @overload
    def __getitem__(self, name: Literal["slic_hf"]) -> _SlicHf: ...
    @overload
    def __getitem__(self, name: Literal["dpo", "sigmoid", "cdpo", "spin"]) -> _Dpo: ...
    @overload
    def __getitem__(self, name: Literal["plackett_luce", "pl_dpo", "listmle", "kpo"]) -> _PlackettLuce: ...
    @overload
    def __getitem__(self, name: Literal["rank_hinge"]) -> _RankHinge: ...
    @overload
    def __getitem__(self, name: Literal["pro"]) -> _Pro: ...
    @overload
    def __getitem__(self, name: Literal["heron"]) -> _Heron: ...
    @overload
    def __getitem__(self, name: Literal["hinge", "rso", "slic_norm"]) -> _Hinge: ...
    @overload
    def __getitem__(self, name: Literal["f_dpo"]) -> _FDpo: ...
    @overload
    def __getitem__(self, name: Literal["auxiliary"]) -> _Auxiliary: ...
    @overload
    def __getitem__(self, name: Literal["modpo"]) -> _Modpo: ...
    @overload
    def __getitem__(self, name: Literal["ipo"]) -> _Ipo: ...
    @overload
    def __getitem__(self, name: Literal["cpl"]) -> _Cpl: ...
    @overload
    def __getitem__(self, name: Literal["cpl_ranking"]) -> _CplRanking: ...
    @overload
    def __getitem__(self, name: Literal["diffusion_dpo"]) -> _DiffusionDpo: ...
    @overload
    def __getitem__(self, name: Literal["ddpo"]) -> _Ddpo: ...
    @overload
    def __getitem__(self, name: Literal["nash_md", "nash_md_pg"]) -> _NashMd: ...
    @overload
    def __getitem__(self, name: Literal["reward_contrastive"]) -> _RewardContrastive: ...
    @overload
    def __getitem__(self, name: Literal["adaptive_margin"]) -> _AdaptiveMargin: ...
    @overload
    def __getitem__(self, name: Literal["cpo"]) -> _Cpo: ...
    @overload
    def __getitem__(self, name: Literal["exo", "exo_pair"]) -> _Exo: ...
    @overload
    def __getitem__(self, name: Literal["exo_k"]) -> _ExoK: ...
    @overload
    def __getitem__(self, name: Literal["kto"]) -> _Kto: ...
    @overload
    def __getitem__(self, name: Literal["all_pairs", "lipo_pairwise"]) -> _AllPairs: ...
    @overload
    def __getitem__(self, name: Literal["lipo_lambda"]) -> _LipoLambda: ...
    @overload
    def __getitem__(self, name: Literal["listnet", "lipo_softmax"]) -> _Listnet: ...
    @overload
    def __getitem__(self, name: Literal["grpo"]) -> _Grpo: ...
    @overload
    def __getitem__(self, name: Literal["info_nca"]) -> _InfoNca: ...
    @overload
    def __getitem__(self, name: Literal["nca"]) -> _Nca: ...
    @overload
    def __getitem__(self, name: Literal["gpo_link"]) -> _GpoLink: ...
    @overload
    def __getitem__(self, name: Literal["odpo"]) -> _Odpo: ...
    @overload
    def __getitem__(self, name: Literal["relative_po"]) -> _RelativePo: ...
    @overload
    def __getitem__(self, name: Literal["dpop"]) -> _Dpop: ...
    @overload
    def __getitem__(self, name: Literal["rloo"]) -> _Rloo: ...
    @overload
    def __getitem__(self, name: Literal["robust_dpo", "robust"]) -> _RobustDpo: ...
    @overload
    def __getitem__(self, name: Literal["orpo"]) -> _Orpo: ...
    @overload
    def __getitem__(self, name: Literal["online_ipo", "ipo_md"]) -> _OnlineIpo: ...
    @overload
    def __getitem__(self, name: Literal["r_dpo"]) -> _RDpo: ...
    @overload
    def __getitem__(self, name: Literal["dove", "jpo"]) -> _Dove: ...
    @overload
    def __getitem__(self, name: Literal["dno"]) -> _Dno: ...
    @overload
    def __getitem__(self, name: Literal["bco"]) -> _Bco: ...
    @overload
    def __getitem__(self, name: Literal["npo"]) -> _Npo: ...
    @overload
    def __getitem__(self, name: Literal["tdpo"]) -> _Tdpo: ...
    @overload
    def __getitem__(self, name: Literal["rebel"]) -> _Rebel: ...
    @overload
    def __getitem__(self, name: Literal["sppo"]) -> _Sppo: ...
    @overload
    def __getitem__(self, name: Literal["spce", "soft_dpo", "osp"]) -> _Spce: ...
    @overload
    def __getitem__(self, name: Literal["simpo"]) -> _Simpo: ...
    @overload
    def __getitem__(self, name: Literal["mallows_dpo"]) -> _MallowsDpo: ...
    @overload
    def __getitem__(self, name: Literal["rpo_regularized"]) -> _RpoRegularized: ...
    @overload
    def __getitem__(self, name: Literal["tpo"]) -> _Tpo: ...
    @overload
    def __getitem__(self, name: Literal["dro"]) -> _Dro: ...
    @overload
    def __getitem__(self, name: Literal["vpo"]) -> _Vpo: ...
    @overload
    def __getitem__(self, name: Literal["selm"]) -> _Selm: ...
    @overload
    def __getitem__(self, name: Literal["dpo_gamma"]) -> _DpoGamma: ...
    @overload
    def __getitem__(self, name: Literal["gr_dpo"]) -> _GrDpo: ...
    @overload
    def __getitem__(self, name: Literal["xpo"]) -> _Xpo: ...
    @overload
    def __getitem__(self, name: Literal["aot", "aot_paired"]) -> _Aot: ...
    @overload
    def __getitem__(self, name: Literal["aot_unpaired"]) -> _AotUnpaired: ...
    @overload
    def __getitem__(self, name: Literal["mapo"]) -> _Mapo: ...
    @overload
    def __getitem__(self, name: Literal["discopop", "lrml"]) -> _Discopop: ...
    @overload
    def __getitem__(self, name: Literal["padll"]) -> _Padll: ...
    @overload
    def __getitem__(self, name: Literal["cell"]) -> _Cell: ...
    @overload
    def __getitem__(self, name: Literal["aql"]) -> _Aql: ...
    @overload
    def __getitem__(self, name: Literal["aqfl"]) -> _Aqfl: ...
    @overload
    def __getitem__(self, name: Literal["pfl"]) -> _Pfl: ...
    @overload
    def __getitem__(self, name: Literal["s_dpo", "softmax_dpo"]) -> _SDpo: ...
    @overload
    def __getitem__(self, name: Literal["sampo"]) -> _Sampo: ...
    @overload
    def __getitem__(self, name: Literal["reward_aware_po", "rpo_sq", "rpo_bwd_kl", "rpo_fwd_kl"]) -> _RewardAwarePo: ...
    @overload
    def __getitem__(self, name: Literal["wpo"]) -> _Wpo: ...
    @overload
    def __getitem__(self, name: Literal["mdpo"]) -> _Mdpo: ...
    @overload
    def __getitem__(self, name: Literal["step_dpo"]) -> _StepDpo: ...
    @overload
    def __getitem__(self, name: Literal["inpo"]) -> _Inpo: ...
    @overload
    def __getitem__(self, name: Literal["dr_dpo"]) -> _DrDpo: ...
    @overload
    def __getitem__(self, name: Literal["beta_dpo"]) -> _BetaDpo: ...
    @overload
    def __getitem__(self, name: Literal["chi_po"]) -> _ChiPo: ...
    @overload
    def __getitem__(self, name: Literal["ln_dpo", "sigmoid_norm", "dpo_norm"]) -> _LnDpo: ...
    @overload
    def __getitem__(self, name: Literal["apo_down"]) -> _ApoDown: ...
    @overload
    def __getitem__(self, name: Literal["apo_zero"]) -> _ApoZero: ...
    @overload
    def __getitem__(self, name: Literal["minor_dpo"]) -> _MinorDpo: ...
    @overload
    def __getitem__(self, name: Literal["vpl"]) -> _Vpl: ...
    @overload
    def __getitem__(self, name: Literal["ld_dpo"]) -> _LdDpo: ...
    @overload
    def __getitem__(self, name: Literal["alt_po"]) -> _AltPo: ...
    @overload
    def __getitem__(self, name: Literal["gpo"]) -> _Gpo: ...
    @overload
    def __getitem__(self, name: Literal["gpm", "general_preference"]) -> _Gpm: ...
    @overload
    def __getitem__(self, name: Literal["arpo"]) -> _Arpo: ...
    @overload
    def __getitem__(self, name: Literal["rainbow_po"]) -> _RainbowPo: ...
    @overload
    def __getitem__(self, name: Literal["tis_dpo"]) -> _TisDpo: ...
    @overload
    def __getitem__(self, name: Literal["sim_npo"]) -> _SimNpo: ...
    @overload
    def __getitem__(self, name: Literal["alpha_dpo"]) -> _AlphaDpo: ...
    @overload
    def __getitem__(self, name: Literal["h_dpo"]) -> _HDpo: ...
    @overload
    def __getitem__(self, name: Literal["cal_dpo"]) -> _CalDpo: ...
    @overload
    def __getitem__(self, name: Literal["alpha_po"]) -> _AlphaPo: ...
    @overload
    def __getitem__(self, name: Literal["simper"]) -> _Simper: ...
    @overload
    def __getitem__(self, name: Literal["dpo_shift"]) -> _DpoShift: ...
    @overload
    def __getitem__(self, name: Literal["mm_dpo"]) -> _MmDpo: ...
    @overload
    def __getitem__(self, name: Literal["onpo"]) -> _Onpo: ...
    @overload
    def __getitem__(self, name: Literal["rspo"]) -> _Rspo: ...
    @overload
    def __getitem__(self, name: Literal["dil"]) -> _Dil: ...
    @overload
    def __getitem__(self, name: Literal["repo"]) -> _Repo: ...
    @overload
    def __getitem__(self, name: Literal["egpo"]) -> _Egpo: ...
    @overload
    def __getitem__(self, name: Literal["topr"]) -> _Topr: ...
    @overload
    def __getitem__(self, name: Literal["dapo"]) -> _Dapo: ...
    @overload
    def __getitem__(self, name: Literal["dr_grpo"]) -> _DrGrpo: ...
    @overload
    def __getitem__(self, name: Literal["gvpo"]) -> _Gvpo: ...
    @overload
    def __getitem__(self, name: Literal["mapl"]) -> _Mapl: ...
    @overload
    def __getitem__(self, name: Literal["a2po"]) -> _A2po: ...
    @overload
    def __getitem__(self, name: Literal["clip_cov"]) -> _ClipCov: ...
    @overload
    def __getitem__(self, name: Literal["kl_cov"]) -> _KlCov: ...
    @overload
    def __getitem__(self, name: Literal["bpo"]) -> _Bpo: ...
    @overload
    def __getitem__(self, name: Literal["gamma_po", "gamma_simpo"]) -> _GammaPo: ...
    @overload
    def __getitem__(self, name: Literal["confpo"]) -> _Confpo: ...
    @overload
    def __getitem__(self, name: Literal["cispo"]) -> _Cispo: ...
    @overload
    def __getitem__(self, name: Literal["reward_partition"]) -> _RewardPartition: ...
    @overload
    def __getitem__(self, name: Literal["qrpo"]) -> _Qrpo: ...
    @overload
    def __getitem__(self, name: Literal["gspo"]) -> _Gspo: ...
    @overload
    def __getitem__(self, name: Literal["gspo_token"]) -> _GspoToken: ...
    @overload
    def __getitem__(self, name: Literal["gmpo"]) -> _Gmpo: ...
    @overload
    def __getitem__(self, name: Literal["ranklist"]) -> _Ranklist: ...
    @overload
    def __getitem__(self, name: Literal["dcpo"]) -> _Dcpo: ...
    @overload
    def __getitem__(self, name: Literal["mnpo"]) -> _Mnpo: ...
    @overload
    def __getitem__(self, name: Literal["lcpo", "re_po", "lcpo_em"]) -> _Lcpo: ...
    @overload
    def __getitem__(self, name: Literal["aspo"]) -> _Aspo: ...
    @overload
    def __getitem__(self, name: Literal["amapo"]) -> _Amapo: ...
    @overload
    def __getitem__(self, name: Literal["sapo"]) -> _Sapo: ...
    @overload
    def __getitem__(self, name: Literal["dppo_tv"]) -> _DppoTv: ...
    @overload
    def __getitem__(self, name: Literal["dppo_kl"]) -> _DppoKl: ...
    @overload
    def __getitem__(self, name: Literal["luspo"]) -> _Luspo: ...
    @overload
    def __getitem__(self, name: Literal["vespo"]) -> _Vespo: ...
    @overload
    def __getitem__(self, name: Literal["hypo"]) -> _Hypo: ...
    @overload
    def __getitem__(self, name: Literal["ddo_rm"]) -> _DdoRm: ...
    @overload
    def __getitem__(self, name: str) -> Objective: ...
    def find(
        self,
        *,
        answers: _Purpose | Iterable[_Purpose] = ...,
        family: _Family | type[Any] | None = ...,
        reads: _Field | Iterable[_Field] = ...,
        reference_free: bool | None = ...,
    ) -> list[Objective]: ...
