"""examples/vpo_online.py"""

from itertools import pairwise


def test_the_policy_beats_its_start_more_often_from_round_to_round(example, capsys):
    wins = example("vpo_online").main(seed=0)
    assert abs(wins[0] - 0.5) < 0.1  # 2560 games of 320 completions
    assert all(later > earlier for earlier, later in pairwise(wins[:4]))
    assert wins[-1] > 0.85
    assert f"round 4: beats the start in {wins[-1]:.0%} of games" in capsys.readouterr().out
