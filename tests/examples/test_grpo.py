"""examples/grpo.py"""


def test_the_policy_counts_after_prompts_that_it_never_saw(example, capsys):
    rewards = example("grpo").main(seed=0)
    assert rewards[0] < 0.2  # 1/10 is chance, and 160 completions of four digits have a standard error of 0.012
    assert rewards[1] > rewards[0] + 0.1
    assert rewards[-1] > 0.9
    assert f"reward on held-out prompts: {rewards[-1]:.2f}" in capsys.readouterr().out
