"""README.md: what it shows runs, and it reads alike wherever it is shown, as it links to nothing of the repository."""

import re

import numpy as np
import pytest

import poz


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def blocks(readme):
    return re.findall(r"```python\n(.*?)```", readme, re.DOTALL)


def test_it_links_to_nothing_that_is_elsewhere_on_a_package_index(readme):
    links = ["".join(link) for link in re.findall(r"\]\(([^)]*)\)|(?:href|src)=\"([^\"]*)", readme)]
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_paths_in_it_exist(root, readme):
    paths = [path for path in re.findall(r"`([\w.]+(?:/[\w.]+)*(?:/|\.md|\.py))`", readme) if "NAME" not in path]
    assert len(paths) > 25
    assert [path for path in paths if not (root / path).exists()] == []


def test_every_document_is_named(root, readme):
    assert [path.name for path in (root / "docs").glob("*.md") if f"`docs/{path.name}`" not in readme] == []


def test_what_is_to_be_chosen_answers(readme):
    rows = re.findall(r"`poz list --(for|family) ([\w-]+)` \| (`.*`) \|", readme)
    assert len(rows) == 10
    for option, asked, names in rows:
        found = poz.zoo.find(answers=asked) if option == "for" else poz.zoo.find(family=asked)
        assert set(re.findall(r"`(\w+)`", names)) <= {one.name for one in found}, asked


def test_its_first_lines_and_a_loss_of_yours(readme):
    given = {name: np.linspace(-9, -5, 4) for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")}
    given |= {"my_dpo": poz.dpo, "my_simpo": poz.simpo}
    first, own = (block for block in blocks(readme) if "losses = poz.dpo" in block or "import conform" in block)
    exec(first, given)
    np.testing.assert_allclose(given["losses"], np.log(2))
    exec(own.replace("print(", "verdict = ("), given)
    assert given["verdict"]


def test_a_loop_of_torch(readme):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    given = {
        "poz": poz,
        "hidden": torch.randn(4, 3, 8, generator=generator),
        "head": torch.randn(16, 8, generator=generator),
        "targets": torch.randint(16, (4, 3), generator=generator),
        "mask": torch.ones(4, 3, dtype=torch.bool),
    }
    (block,) = (block for block in blocks(readme) if "hidden, head" in block)
    exec(block, given)
    dense = (
        torch.log_softmax(given["hidden"] @ given["head"].T, -1).gather(-1, given["targets"][..., None])[..., 0].sum(-1)
    )
    z = 2.0 * (dense[:2] - dense[2:]) / 3 - 1.0
    torch.testing.assert_close(given["loss"], torch.nn.functional.softplus(-z).mean(), rtol=1e-5, atol=1e-5)


def test_a_step_of_jax(readme):
    pytest.importorskip("optax")
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embedding, self.head = nnx.Embed(16, 8, rngs=rngs), nnx.Param(0.1 * jnp.ones((16, 8)))

        def hidden(self, ids):
            return self.embedding(ids)

    model = Model(nnx.Rngs(0))
    rows = {"ids": jnp.arange(16).reshape(4, 4), "mask": jnp.ones((4, 4), bool)}
    given = {
        "poz": poz,
        "model": model,
        "rows": rows,
        "optimizer": nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param),
    }
    (block,) = (block for block in blocks(readme) if "train_step" in block)
    exec(block, given)
    assert set(given["metrics"]) == {"loss", "margin", "accuracy"}
    for _ in range(3):
        after = given["step"](model, given["optimizer"], rows)
    assert after["loss"] < given["metrics"]["loss"]
