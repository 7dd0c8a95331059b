"""What is fitted, alternated or weighted on the way to a reward model, beside the losses of the zoo.

`more` weighs the sources of preferences by their gradients; `armorm` reads attributes off features and clears them of
verbosity, `gate` mixes them; `maxmin` finds the groups among annotators; `meta_rm` takes MetaRM's step;
`properties` says what a property of a completion does to its win rate.
"""

from poz.rewards.fits.armorm import (
    Cleared,
    Ridge,
    debias,
    ridge,
    ridge_by_validation,
    verbosity_penalties,
)
from poz.rewards.fits.gate import gated_loss, gated_score
from poz.rewards.fits.maxmin import Mixture, annotator_log_likelihoods, assign, fit_mixture
from poz.rewards.fits.meta_rm import difference, meta_step
from poz.rewards.fits.more import HeadGradients, average_gradients, head_gradients, min_norm_weights, source_losses
from poz.rewards.fits.properties import Effects, joint_effects, property_effects

__all__ = [
    "Cleared",
    "Effects",
    "HeadGradients",
    "Mixture",
    "Ridge",
    "annotator_log_likelihoods",
    "assign",
    "average_gradients",
    "debias",
    "difference",
    "fit_mixture",
    "gated_loss",
    "gated_score",
    "head_gradients",
    "joint_effects",
    "meta_step",
    "min_norm_weights",
    "property_effects",
    "ridge",
    "ridge_by_validation",
    "source_losses",
    "verbosity_penalties",
]
