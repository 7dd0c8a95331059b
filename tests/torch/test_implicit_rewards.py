"""The rewards that a policy implies, which trainers log: which log-probs, which scale."""

import pytest
import torch

import poz
from poz.torch import Scored, implicit_rewards


class TestRewards:
    def scored(self):
        logps = torch.tensor([[-1.0, -2.0], [-4.0, 0.0]])
        mask = torch.tensor([[True, True], [True, False]])
        return Scored(logps, mask, mask.sum(1), 0.5 * logps)

    @pytest.mark.parametrize(
        ("objective", "chosen", "rejected"),
        [
            (poz.dpo.bind(beta=0.2), 0.2 * -1.5, 0.2 * -2.0),
            (poz.lcpo.bind(base=poz.dpo.bind(beta=0.2)), 0.2 * -1.5, 0.2 * -2.0),
            (poz.simpo.bind(beta=2.0), 2 * -1.5, 2 * -4.0),
            (poz.ipo.bind(tau=0.5), 0.5 * -1.5, 0.5 * -2.0),
            (poz.ipo.bind(tau=0.5, length_normalized=True), 0.5 * -0.75, 0.5 * -2.0),
            (poz.inpo.bind(eta=0.3), 0.3 * -1.5, 0.3 * -2.0),  # as IPO, which it is where the opponent is the reference
            (poz.cpl.bind(alpha=0.3), 0.3 * -3.0, 0.3 * -4.0),
            (poz.cpl_ranking.bind(alpha=0.3, regularizer="kl"), 0.3 * -1.5, 0.3 * -2.0),
            (poz.pro, -1.5, -4.0),
            (poz.dno.bind(eta=0.3), 0.3 * -1.5, 0.3 * -2.0),
            (poz.rebel.bind(eta=3.0), -1.5, -2.0),
            (poz.arpo.bind(beta=0.3), 0.3 * -3.0, 0.3 * -4.0),  # its lengths bound how much rejected counts
            (poz.r_dpo.bind(beta=0.3), 0.3 * -1.5, 0.3 * -2.0),  # its lengths are a margin
            (poz.cpo.bind(beta=0.3), 0.3 * -3.0, 0.3 * -4.0),  # its lengths are those of the imitation term
            (poz.rrhf.bind(nll="sum"), -1.5, -4.0),
            (poz.ln_dpo.bind(beta=3.0), 3 * -0.75, 3 * -2.0),
            (poz.orpo, -1.5, -4.0),
            (poz.wpo.bind(beta=0.3), 0.3 * -1.5, 0.3 * -2.0),
            (poz.combine([("sft", 1.0), (poz.dpo.bind(beta=0.2), 0.5)]), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine([(poz.simpo.bind(beta=2.0), 1.0), (poz.dpo, 0.5)]), 2 * -1.5, 2 * -4.0),
            (poz.lcpo.bind(base=poz.combine([("sft", 1.0), (poz.dpo.bind(beta=0.2), 0.5)])), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine([("sft", 1.0), (poz.lcpo.bind(base=poz.dpo.bind(beta=0.2)), 1.0)]), 0.2 * -1.5, 0.2 * -2.0),
            (poz.combine({"pro": 1.0}), -1.5, -4.0),
            (poz.bco.bind(beta=0.3, baseline=0.5), 0.3 * -1.5, 0.3 * -2.0),
        ],
        ids=lambda value: value.name if isinstance(value, poz.Objective) else "",
    )
    def test_implicit(self, objective, chosen, rejected):
        found = implicit_rewards(objective, self.scored())
        assert [reward.item() for reward in found] == pytest.approx([chosen, rejected])


def test_names_are_taken_as_losses_take_them():
    scored = TestRewards().scored()
    for by_name, by_spec in zip(implicit_rewards("simpo", scored), implicit_rewards(poz.simpo, scored), strict=True):
        assert torch.equal(by_name, by_spec)
