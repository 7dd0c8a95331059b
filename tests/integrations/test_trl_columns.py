"""What the columns of a data set of pairs do in the DPOTrainer, and pairs that are taken apart."""

import dataclasses
import math

import datasets
import pytest
import torch
from trl_tiny import MARKS, PAIRS, WITH_COLUMNS, close, inputs, log_probs, loss_and_gradients, sums, trainer

import poz
from poz.columns import columns_read
from poz.integrations.trl.columns import Columns
from poz.torch import LCPO, Scored, scored_losses

pytestmark = MARKS


class TestColumns:
    def test_label_margin_and_opponents_reach_the_objective(self, tmp_path, policy, reference):
        opponents = [([-20.0 - i, -3.0], [-18.0, -4.0 - i]) for i in range(4)]
        pairs = [
            {**pair, "margin": 0.5 * i, "opponents_chosen": one, "opponents_rejected": other}
            for i, (pair, (one, other)) in enumerate(zip(PAIRS, opponents, strict=True))
        ]
        objective = poz.mnpo.bind(target="reward", eta=0.5, tau=0.1, weights=(0.25, 0.75))
        made = trainer(tmp_path, policy, objective, pairs, ref_model=reference)
        (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
        gaps = torch.tensor([[a - b for a, b in zip(*sides, strict=True)] for sides in opponents])
        a = (chosen - rejected) - 0.2 * (ref_chosen - ref_rejected) - 0.8 * (0.25 * gaps[:, 0] + 0.75 * gaps[:, 1])
        expected = ((a - 0.5 * torch.tensor([0.0, 0.5, 1.0, 1.5])) ** 2).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_opponents_of_means(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [-5.0, -4.0], "opponents_rejected": [-6.0, -6.0]} for pair in PAIRS]
        objective = poz.mnpo.bind(tau=0.0, weights=(0.5, 0.5), length_normalized=True)
        made = trainer(tmp_path, policy, objective, pairs)
        loss_and_gradients(made)
        lengths = [[len(pair[side]) + 1 for pair in PAIRS] for side in ("chosen", "rejected")]
        expected = (sums(policy, made)[0] / torch.tensor(lengths[0])).mean().item()
        assert made._metrics["train"]["rewards/chosen"] == [pytest.approx(expected, rel=1e-5)]

    def test_lengths_are_those_of_the_completion_mask(self, tmp_path, policy):
        made = trainer(tmp_path, policy, poz.simpo.bind(beta=2.0, gamma=0.5))
        lengths = [[len(pair[side]) + 1 for pair in PAIRS] for side in ("chosen", "rejected")]  # with the end token
        means = [total / torch.tensor(length) for total, length in zip(sums(policy, made), lengths, strict=True)]
        expected = torch.nn.functional.softplus(0.5 - 2 * (means[0] - means[1])).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_the_reference_is_the_opponent_by_default(self, tmp_path, policy, reference):
        free = poz.mnpo.bind(tau=0.0, eta=0.5)
        assert free.reference_free
        found, _ = loss_and_gradients(trainer(tmp_path, policy, free, ref_model=reference))
        expected, _ = loss_and_gradients(trainer(tmp_path, policy, poz.ipo.bind(tau=0.5), ref_model=reference))
        close(found, expected, "loss", 1e-6)

    def test_opponents_without_a_reference(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [-5.0], "opponents_rejected": [-6]} for pair in PAIRS]
        made = trainer(tmp_path, policy, poz.mnpo.bind(tau=0.0, eta=0.5), pairs)
        assert made.ref_model is None
        chosen, rejected = sums(policy, made)
        close(loss_and_gradients(made)[0], ((chosen - rejected - 1 - 1) ** 2).mean().detach(), "loss")

    def test_labels_of_cpl(self, tmp_path, policy):
        pairs = [{**pair, "label": label} for pair, label in zip(PAIRS, [1.0, 0.0, 0.5, 1.0], strict=True)]
        made = trainer(tmp_path, policy, "cpl", pairs)
        chosen, rejected = sums(policy, made)
        softplus, label = torch.nn.functional.softplus, torch.tensor([1.0, 0.0, 0.5, 1.0])
        right, wrong = softplus(0.05 * rejected - 0.1 * chosen), softplus(0.05 * chosen - 0.1 * rejected)
        close(loss_and_gradients(made)[0], (label * right + (1 - label) * wrong).mean().detach(), "loss")

    def test_margin_of_rebel_and_entropy_of_mallows_dpo(self, tmp_path, policy, reference):
        def loss(objective):
            made = trainer(tmp_path, policy, objective, WITH_COLUMNS, ref_model=reference)
            (chosen, rejected), (ref_chosen, ref_rejected) = (sums(model, made) for model in (policy, reference))
            return loss_and_gradients(made)[0], ((chosen - ref_chosen) - (rejected - ref_rejected)).detach()

        found, h = loss(poz.rebel.bind(eta=2.0))
        close(found, ((h - 2 * torch.tensor([0.5, 1.5, 2.5, 3.5])) ** 2).mean(), "margin")
        found, h = loss(poz.mallows_dpo.bind(beta=0.1, kappa=1.0))
        dispersion = -torch.tensor([0.2, 0.4, 0.6, 0.8]).log()
        close(found, torch.nn.functional.softplus(-0.1 * dispersion * h).mean(), "entropy")

    def test_weights_of_tokens(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.tis_dpo.bind(beta=0.5), WITH_COLUMNS, ref_model=reference)
        (logps, mask), (ref_logps, _) = (log_probs(model, made) for model in (policy, reference))
        ratios = [row[here] for row, here in zip((logps - ref_logps).detach(), mask, strict=True)]
        weights = [torch.tensor(pair[f"{side}_weights"]) for side in ("chosen", "rejected") for pair in WITH_COLUMNS]
        # Where the completion begins at the first token of its row, that token has no log-prob and its weight no use.
        chosen, rejected = (
            torch.stack([weight[-len(ratio) :] @ ratio for ratio, weight in zip(ratios, weights, strict=True)])
        ).chunk(2)
        assert len(ratios[3]) == len(weights[3]) - 1
        expected = torch.nn.functional.softplus(0.5 * (rejected - chosen)).mean()
        close(loss_and_gradients(made)[0], expected, "loss")

    def test_weights_that_are_not_one_for_each_token(self, tmp_path, policy):
        pairs = [{**WITH_COLUMNS[0], "rejected_weights": [1.0, 1.0, 1.0]}]
        with pytest.raises(ValueError, match=r"'rejected_weights' must hold one number .* got 3 for 4 tokens"):
            inputs(trainer(tmp_path, policy, "tis_dpo", pairs))

    def test_reward_gap_of_pro(self, tmp_path, policy):
        def loss(pairs):
            return loss_and_gradients(trainer(tmp_path, policy, "pro", pairs))[0].item()

        one, two = ([{**pair, "margin": gap} for pair in PAIRS] for gap in (1.0, 2.0))
        assert loss(PAIRS) == loss(one) != loss(two)

    @pytest.mark.parametrize(("calibration", "side"), [("chosen", [0]), ("rejected", [1]), ("both", [0, 1])])
    def test_calibration_of_vpo(self, tmp_path, policy, reference, calibration, side):
        objective = poz.vpo.bind(alpha=0.5, sign=-1)
        made = trainer(tmp_path, policy, objective, ref_model=reference, calibration=calibration)
        ours, theirs = sums(policy, made), sums(reference, made)
        h = (ours[0] - ours[1]) - (theirs[0] - theirs[1])
        bonus = torch.cat([ours[i] - theirs[i] for i in side]).mean()
        expected = torch.nn.functional.softplus(-0.1 * h).mean() - 0.05 * bonus
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    @pytest.mark.parametrize(
        ("objective", "column"),
        [
            (poz.mnpo.bind(target="reward"), "margin"),
            (poz.lcpo.bind(reliability=torch.tensor([0.9, 0.6])), "annotator"),
            (LCPO(num_annotators=2), "annotator"),
            (poz.rebel, "margin"),
            (poz.mallows_dpo, "entropy"),
            (poz.tis_dpo, "chosen_weights"),
        ],
    )
    def test_missing_column(self, tmp_path, policy, objective, column):
        with pytest.raises(ValueError, match=f"reads the column '{column}', which the data set 'train' does not have"):
            trainer(tmp_path, policy, objective)

    def test_half_of_the_opponents(self, tmp_path, policy):
        with pytest.raises(ValueError, match="'opponents_rejected'"):
            trainer(tmp_path, policy, "mnpo", [{**pair, "opponents_chosen": [0.0]} for pair in PAIRS])

    def test_opponents_in_one_data_set_only(self, tmp_path, policy):
        pairs = [{**pair, "opponents_chosen": [0.0], "opponents_rejected": [0.0]} for pair in PAIRS]
        with pytest.raises(ValueError, match="or in neither"):
            trainer(tmp_path, policy, poz.mnpo.bind(tau=0.0), pairs, eval_dataset=datasets.Dataset.from_list(PAIRS))

    @pytest.mark.parametrize("objective", ["mnpo", "inpo", "pro"])
    @pytest.mark.parametrize("trained", [True, False])
    def test_evaluation_measures_the_loss_that_is_trained(self, tmp_path, policy, objective, trained):
        """A column that is used where it is there changes the loss."""
        columns = {"margin": 2.0} if objective == "pro" else {"opponents_chosen": [0.0], "opponents_rejected": [0.0]}
        pairs = [PAIRS, [{**pair, **columns} for pair in PAIRS]]
        other = datasets.Dataset.from_list(pairs[not trained])
        with pytest.raises(ValueError, match=f"uses the column '{min(columns)}'.* or in neither"):
            trainer(tmp_path, policy, objective, pairs[trained], eval_dataset=other)
        made = trainer(tmp_path, policy, objective, pairs[trained])
        with pytest.raises(ValueError, match="or in neither"):
            made.evaluate(other)
        assert math.isfinite(made.evaluate(datasets.Dataset.from_list(pairs[trained]))["eval_loss"])

    def test_no_example(self, tmp_path, policy):
        with pytest.raises(ValueError, match="There is no example in the training data set"):
            trainer(tmp_path, policy, "dpo", [])

    def test_a_search_may_put_its_number_where_the_objective_was(self, tmp_path, policy):
        made = trainer(tmp_path, policy, "dpo", arguments={"max_steps": 1})
        assert made.objective is poz.dpo
        made.objective = None  # as transformers' search for hyper-parameters does
        made.train()

    def test_factors_keep_what_tells_them_apart(self):
        collate = Columns(lambda examples: {}, ("chosen_factors", "rejected_factors"))
        made = collate([{"chosen_factors": [1700000001.5, 0], "rejected_factors": [1700000001.0, 9]}])
        losses = poz.heron(poz.RewardPairs(torch.tensor([2.0]), torch.tensor([0.0]), **made))
        torch.testing.assert_close(losses, torch.tensor([math.log1p(math.exp(-2))]))

    def test_a_column_that_holds_no_numbers(self):
        collate = Columns(lambda examples: {}, ("margin", "annotator"))
        assert collate([{"annotator": 1}, {"annotator": 0}])["annotator"].tolist() == [1, 0]
        with pytest.raises(ValueError, match=r"'margin' must hold numbers.*None"):
            collate([{"margin": 1.0}, {"margin": None}])

    @pytest.mark.parametrize("family", [poz.Denoising, poz.Rollouts])
    def test_a_family_that_pairs_do_not_make(self, family):
        other = next(spec for spec in poz.zoo.values() if spec.family is family and not columns_read(spec)[0])
        with pytest.raises(
            TypeError, match=rf"reads poz\.{family.__name__}, which pairs of completions do not make; "
        ) as error:
            scored_losses(other, Scored(torch.zeros(2, 3), torch.ones(2, 3).bool(), torch.ones(2)))
        assert ("train with poz.integrations.trl.GRPOTrainer" in str(error.value)) == (family is poz.Rollouts)

    def test_what_is_no_family(self):
        class Other(tuple):
            __slots__ = ()

        other = dataclasses.replace(poz.dpo, family=Other)
        with pytest.raises(TypeError, match=r"A family is required: .*; got Other"):
            scored_losses(other, Scored(torch.zeros(2, 3), torch.ones(2, 3).bool(), torch.ones(2)))

    def test_a_field_that_pairs_do_not_give(self, tmp_path, policy):
        reads_kl = dataclasses.replace(poz.wpo, _required=("chosen", "rejected", "chosen_kl"))
        with pytest.raises(ValueError, match=r"`wpo` reads chosen_kl, which .* poz\.wpo\(poz\.TokenPairs\(chosen="):
            trainer(tmp_path, policy, reads_kl)


class TestUnpaired:
    """Each pair is two completions, as `trl.data_utils.unpair_preference_dataset` makes of it."""

    def ratios(self, made, policy, reference):
        return [ours - theirs for ours, theirs in zip(sums(policy, made), sums(reference, made), strict=True)]

    def test_bco_is_the_mean_over_all_completions(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.bco.bind(beta=0.3, baseline=0.2), ref_model=reference)
        chosen, rejected = self.ratios(made, policy, reference)
        softplus = torch.nn.functional.softplus
        expected = torch.cat((softplus(0.2 - 0.3 * chosen), softplus(0.3 * rejected - 0.2))).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_kto_without_samples_of_the_kl(self, tmp_path, policy, reference):
        given = [{**pair, "kl": 0.5 * i, "weights": 1.0 + i} for i, pair in enumerate(PAIRS)]
        kl, weights = 0.5 * torch.arange(4), 1.0 + torch.arange(4)
        for estimator, pairs, point, weight in (("zero", PAIRS, 0, 1), ("given", given, kl, weights)):
            made = trainer(tmp_path, policy, poz.kto.bind(beta=0.3, estimator=estimator), pairs, ref_model=reference)
            chosen, rejected = self.ratios(made, policy, reference)
            sides = weight * torch.sigmoid(0.3 * (point - chosen)), weight * torch.sigmoid(0.3 * (rejected - point))
            close(loss_and_gradients(made)[0], torch.cat(sides).mean().detach(), estimator)
        with pytest.raises(ValueError, match="reads the column 'kl', which the data set 'train' does not have"):
            trainer(tmp_path, policy, poz.kto.bind(estimator="given"))

    def test_npo_unlearns_the_rejected_ones_alone(self, tmp_path, policy, reference):
        made = trainer(tmp_path, policy, poz.npo.bind(beta=0.3), ref_model=reference)
        _, rejected = self.ratios(made, policy, reference)
        expected = (2 / 0.3 * torch.nn.functional.softplus(0.3 * rejected)).mean()
        close(loss_and_gradients(made)[0], expected.detach(), "loss")

    def test_metrics_and_precomputing_are_those_of_dpo(self, tmp_path, policy, reference):
        metrics, losses = [], []
        for objective, precomputed in (("dpo", False), ("bco", False), ("bco", True)):
            arguments = {"precompute_ref_log_probs": precomputed}
            made = trainer(tmp_path, policy, objective, ref_model=reference, arguments=arguments)
            losses.append(loss_and_gradients(made)[0])
            metrics.append(made._metrics["train"])
        close(losses[2], losses[1], "loss", 1e-6)
        assert poz.bco.values["beta"] == poz.dpo.values["beta"]
        for name, expected in metrics[0].items():
            assert metrics[1][name] == metrics[2][name] == pytest.approx(expected, rel=1e-6), name
