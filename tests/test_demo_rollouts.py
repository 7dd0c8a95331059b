"""`poz demo` with an objective on rollouts learns a rule from what the policy writes itself, on prompts that it has not seen."""

import pytest

import poz
from poz import demo


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """What the demo gives back, its report, and where the model is."""
    folder, lines = tmp_path_factory.mktemp("rule"), []
    result = demo.run("cispo", steps=12, batch_size=6, out=folder / "x.png", save=folder / "model", show=lines.append)
    return result, lines, folder


def test_it_learns(learnt):
    result, lines, folder = learnt
    assert (result.train_prompts, result.held_out_prompts) == (744, 256)
    assert result.before.mean == pytest.approx(0.1, abs=0.03)  # ten digits, and an end that comes too early
    assert result.after.mean > result.before.mean + 4 * (result.before.error + result.after.error)
    assert 0 < result.before.error < 1 / 32
    assert result.held_out[0] == (0, result.before)
    assert result.held_out[-1] == (12, result.after)
    assert [step for step, _ in result.training] == [step for step, _ in result.entropy] == list(range(1, 13))
    assert result.entropy[0][1] > result.entropy[-1][1] > 0
    assert result.picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert {"config.json", "tokenizer.json"} <= {path.name for path in (folder / "model").iterdir()}
    assert lines[0].startswith(
        "Clipped IS-weight Policy Optimization (arXiv:2506.13585), 12 steps of 6 prompts with 16"
    )
    (row,) = [line for line in lines if line.startswith("reward ")]
    cells = [f"{mean:.4g} ± {error:.3f}" for mean, error in (result.before, result.after)]
    assert row.split() == ["reward", *" ".join(cells).split()]


def test_samples_are_of_held_out_prompts_and_the_report_shows_them(learnt):
    result, lines, _ = learnt
    assert len({prompt for prompt, *_ in result.samples}) == 3
    for prompt, earlier, later in result.samples:
        (row,) = [line for line in lines if line.startswith(f"after {prompt} ")]
        assert row.split()[2:] == [earlier or "nothing", later or "nothing"]


@pytest.mark.parametrize(("objective", "more", "sentence"), [
    ("grpo", {"data": "pairs.jsonl"}, "`grpo` learns a rule from what the policy writes itself. Leave data out"),
    ("grpo", {"reward_model": "folder"}, "Leave reward_model out"),
    ("a2po", {}, r"`a2po` wants advantages R - V\*"),
    ("grpo", {"params": {"correction": "token_mask"}}, "`grpo` reads sampler_logps"),
])  # fmt: skip
def test_refused_before_any_training(tmp_path, objective, more, sentence):
    lines = []
    with pytest.raises(ValueError, match=sentence):
        demo.run(objective, out=tmp_path / "x.png", show=lines.append, **more)
    assert lines == []


def test_a_policy_of_no_probabilities_fails(tmp_path):
    with pytest.raises(FloatingPointError, match=r"The policy gives no probabilities after [12] steps"):
        demo.run("dapo", steps=3, batch_size=2, out=tmp_path / "x.png", learning_rate=1e30, show=lambda line: None)
    assert not (tmp_path / "x.png").exists()


def test_hyper_parameters_reach_it(tmp_path):
    lines = []
    objective = poz.gspo.bind(epsilon_low=0.1)
    demo.run(objective, steps=1, batch_size=1, out=tmp_path / "x.png", params={"epsilon_high": 0.2}, show=lines.append)
    assert lines[1].startswith("poz.gspo.bind(epsilon_low=0.1, epsilon_high=0.2")
