"""examples/inpo.py"""

from itertools import pairwise


def test_the_policy_beats_its_start_more_often_from_round_to_round(example, capsys):
    wins = example("inpo").main(seed=0)
    assert abs(wins[0] - 0.5) < 0.1  # 320 games that are mostly ties
    assert all(later > earlier for earlier, later in pairwise(wins[:3]))
    assert wins[-1] > 0.85
    assert f"round 4: beats the start in {wins[-1]:.0%} of games" in capsys.readouterr().out
