"""What holds of every example."""


def test_each_is_short_and_has_a_test(root):
    examples = sorted((root / "examples").rglob("*.py"))
    on_processes = (root / "tests/trainers/test_scale.py").read_text(encoding="utf-8")
    assert examples
    for path in examples:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name
        here, there = root / f"tests/examples/test_{path.name}", str(path.relative_to(root))
        assert here.exists() or there in on_processes, there
