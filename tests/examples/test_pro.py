"""examples/pro.py"""

import pytest


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*left out .* of .* rows:UserWarning")
def test_the_policy_ranks_lists_that_it_never_saw_and_writes_better_ones(example, capsys):
    before, after = example("pro").main(seed=0)
    assert before[1] == pytest.approx(0.5, abs=0.15)  # a start knows nothing: some 160 pairs, of 50 lists
    assert before[2] == pytest.approx(0.4, abs=0.15)  # 1/10 of four digits
    assert after[0] > before[0] + 0.2
    assert after[1] > 0.85
    assert after[2] > 2 * before[2]
    assert "after: best first" in capsys.readouterr().out
