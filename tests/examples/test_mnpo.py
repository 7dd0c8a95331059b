"""examples/mnpo.py"""

from itertools import pairwise


def test_the_policy_comes_nearer_to_the_equilibrium_in_each_round(example, capsys):
    distances = example("mnpo").main(seed=0)
    assert all(later < earlier for earlier, later in pairwise(distances))
    assert distances[-1] < 0.25 * distances[0]
    assert f"round 4: {distances[-1]:.3f} nats from the equilibrium" in capsys.readouterr().out
