"""What holds of every example."""


def test_each_is_short_and_has_a_test(root):
    examples = sorted((root / "examples").glob("*.py"))
    assert examples
    for path in examples:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name
        assert (root / f"tests/examples/test_{path.name}").exists(), path.name
