"""No part of poz imports itself by way of others, not within functions either."""

import ast


def modules(root):
    """Files by the names that they are imported under."""
    found = {}
    for folder, package in (("poz", "poz"), *((name, f"poz.{name}") for name in ("reference", "kernels", "bench"))):
        for file in (root / folder).rglob("*.py"):
            name = ".".join((package, *file.relative_to(root / folder).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = file
    return found


def imported(source, known):
    """The modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in known else node.module for whole in names.values()}
    return found & known


def loops(imports):
    """What is left where modules that import nothing that is left are taken away, again and again."""
    left = dict(imports)
    while gone := [name for name, others in left.items() if not others & left.keys()]:
        for name in gone:
            del left[name]
    return left


def test_a_loop_is_found():
    sources = {
        "a": "import b",
        "b": "def f():\n    from c import x",
        "c": "from a import y",
        "d": "import a, e",
        "e": "",
    }
    imports = {name: imported(source, sources.keys()) for name, source in sources.items()}
    assert loops(imports).keys() == {"a", "b", "c", "d"}
    assert loops({**imports, "c": set()}) == {}


def test_there_is_none(root):
    files = modules(root)
    assert {
        "poz",
        "poz.torch.scored",
        "poz.reference.pairs.dpo",
        "poz.kernels.pairs.dpo",
        "poz.bench.end_to_end",
    } <= files.keys()
    imports = {name: imported(file.read_text(), files.keys()) - {name} for name, file in files.items()}
    assert loops(imports) == {}
