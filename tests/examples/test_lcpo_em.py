"""examples/lcpo_em.py"""

import pytest


def test_annotators_are_found_to_be_as_reliable_as_they_are(example, capsys):
    reliability, knowing, plain = example("lcpo_em").main(seed=0)
    # a step takes a tenth of an estimate from some 43 labels of each, so that ±0.017 is noise
    assert reliability == pytest.approx([0.9, 0.7, 0.55], abs=0.06)
    assert knowing > 0.98
    assert plain < knowing - 0.02  # 0.006 is its standard error over 1280 pairs
    assert "an annotator who is right in 55% of labels" in capsys.readouterr().out
