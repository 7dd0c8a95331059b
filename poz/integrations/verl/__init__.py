"""Objectives on rollouts as policy losses of verl, under names such as "poz:gspo_token".

    import poz.integrations.verl

    poz.integrations.verl.register()  # with verl's registry, in each of its processes

verl does that itself where `actor_rollout_ref.model.external_lib=poz.integrations.verl.external`; then
`actor_rollout_ref.actor.policy_loss.loss_mode=poz:gspo_token` trains with it.
"""
# ruff: noqa: E402 - what is missing is said before anything fails

from poz._extras import require

require("poz.integrations.verl", "torch", "torch")

from poz.integrations.verl.loss import policy_loss as policy_loss
from poz.integrations.verl.registry import register as register
