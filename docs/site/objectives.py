"""A page per objective, from what it declares."""

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

import calls
import limits
import witnesses
from repository import ROOT, code

import poz
from poz import peers
from poz.families import layout_of
from poz.objective import Limit, Objective
from poz.plotting import alt, svg
from poz.purposes import PURPOSES, other_policies

SAME = Limit._field_defaults["batch"]
TESTS = "../../tests/"


def nav(nav: list[Any]) -> None:
    """Adds them to "Objectives", by family."""
    section = next(entry["Objectives"] for entry in nav if "Objectives" in entry)
    for family, _ in Counter(spec.family.__name__ for spec in poz.zoo.values()).most_common():
        names = sorted(spec.name for spec in poz.zoo.values() if spec.family.__name__ == family)
        section.append({family: [{name: f"objectives/{name}.md"} for name in names]})


def pages() -> dict[str, str]:
    """All of them, and a list."""
    made = {f"objectives/{spec.name}.md": page(spec) for spec in poz.zoo.values()}
    rows = ((f"[`{o.name}`]({o.name}.md)", o.title, o.family.__name__, o.paper) for o in poz.zoo.values())
    made["objectives/index.md"] = "# Objectives\n\n" + table(("name", "title", "on", "paper"), rows)
    return made


def page(spec: Objective) -> str:
    """Of one."""
    parts = (_head(spec), _purposes(spec), _picture(spec), _hyper_parameters(spec), _fields(spec), _calls(spec))
    more = (_limits(spec), _published(spec), _deviations(spec), _elsewhere(spec), _constant(spec), _values(spec))
    return "\n\n".join(part for part in (*parts, *more, *_sources(spec)) if part)


def text(words: object) -> str:
    """Words as Markdown has them, where what stands in backticks is code."""
    pieces = re.split(r"(`[^`]*`)", " ".join(str(words).split()))
    return "".join(re.sub(r"([\\*_\[\]#|])", r"\\\1", escape(one, False)) if one[:1] != "`" else one for one in pieces)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    titles = [*head]
    lines = (titles, ["---"] * len(titles), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(spec: Objective) -> str:
    found = re.fullmatch(r"arXiv:(\d+\.\d+)", spec.paper)
    paper = f"[{spec.paper}](https://arxiv.org/abs/{found[1]})" if found else text(spec.paper)
    lines = [
        f"# {spec.name}: {text(spec.title)} {{ #poz.{spec.name} }}",
        text(spec.function.__doc__),
        f"$$\n{spec.formula}\n$$",
    ]
    lines.append(f"{paper}, {text(spec.equation)}.")
    if spec.aliases:
        lines.append(f"Other names in use: {', '.join(f'`{alias}`' for alias in spec.aliases)}.")
    return "\n\n".join(lines)


def _purposes(spec: Objective) -> str:
    lines = []
    for answer in (*spec.answers, *(one for one in spec.said if one.against)):
        reasons = [f"Its paper: {text(answer.paper)}"] if answer.paper else []
        if answer.test:
            path, _, name = answer.test.partition("::")
            reasons.append(f"reproduced by [`{name}`]({TESTS}{path})")
        if answer.world:
            reasons.append(f"the world `{answer.world}` of `poz worlds`")
        if answer.under:
            reasons.append(f"under {text(answer.under)}")
        if answer.against:
            reasons.append(
                f"**against it** the world [`{answer.against}`](../worlds.md#what-papers-claim), so it counts as a claim alone"
            )
        reasons += [f"by what it reads: {text(answer.reads)}"] if getattr(answer, "reads", "") else []
        lines.append(f"**{answer.to}**\n:   {text(PURPOSES[answer.to])} <small>{'; '.join(reasons)}</small>")
    return "\n\n".join(("## What it is for", *lines)) if lines else ""


def _picture(spec: Objective) -> str:
    try:
        drawing, words = svg(spec), alt(spec)
    except ValueError as error:
        return f"## Picture\n\n{text(error)}"
    figure = f'<figure class="drawing" markdown="0"><div>{drawing}</div><figcaption>{words}</figcaption></figure>'
    return f"## Loss and gradient\n\n{figure}"


def _hyper_parameters(spec: Objective) -> str:
    if not spec.params:
        return "## Hyper-parameters\n\nIt has none."
    rows = []
    for name, (default, domain) in spec.params.items():
        unit = getattr(domain, "unit", "1")
        shown = f"poz.{default.name}" if isinstance(default, Objective) else repr(default)
        rows.append(
            (
                f"`{name}`",
                text(domain.meaning),
                f"`{shown}`",
                text(domain.describe()),
                "" if unit == "1" else text(unit),
            )
        )
    return "## Hyper-parameters\n\n" + table(("name", "meaning", "default", "domain", "unit"), rows)


def _fields(spec: Objective) -> str:
    said = meanings(spec.family)
    rows = [
        (f"`{name}`", "always" if name in spec.reads else "where given", text(said[name]))
        for name in spec.family._fields
        if name in spec.reads | spec.optional
    ]
    intro = f"A batch is a `poz.{spec.family.__name__}`, in which the other fields may stay empty."
    if not (other_policies(spec.reads) or layout_of(spec.family).scores):
        intro += " It needs no other policy than the one that learns."
    return f"## What it reads\n\n{intro}\n\n" + table(("field", "read", "what it is"), rows)


def meanings(family: type[Any]) -> dict[str, str]:
    """The sentence of each field, of a family's docstring."""
    lines = inspect.cleandoc(family.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", "\n".join(lines), re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def _calls(spec: Objective) -> str:
    example = witnesses.examples(spec, 1)[0]
    name, program = calls.trl(spec)
    gives = ", ".join(f"{float(loss):.8g}" for loss in example.losses)
    blocks = {
        "NumPy": f"```python\n{calls.numpy(spec, example)}\nprint(losses)  # {gives}\n```",
        "torch": f"```python\n{calls.torch(spec, example)}\n```",
        "JAX": f"```python\n{calls.jax(spec, example)}\n```",
        "TRL": f"```python\n{program}\n```" if name else program,
    }
    if spec.family.__name__ == "Rollouts":
        blocks["verl"] = (
            "```\nactor_rollout_ref.model.external_lib=poz.integrations.verl.external\n"
            f"actor_rollout_ref.actor.policy_loss.loss_mode=poz:{spec.name}\n```"
        )
    tabs = (f'=== "{tab}"\n\n' + _indented(block) for tab, block in blocks.items())
    return (
        "## How to call it\n\n" + "\n\n".join(tabs) + "\n\nOther trainers are in [poz in your trainer](../trainers.md)."
    )


def _indented(block: str) -> str:
    return re.sub(r"(?m)^(?=.)", "    ", block)


def _limits(spec: Objective) -> str:
    down: dict[str, list[str]] = {}
    up: dict[str, list[str]] = {}
    for limit in spec.reduces_to:
        down.setdefault(limit.to, []).append(text(limit.why) + _instance(spec, limit))
    for other in poz.zoo.values():
        for limit in other.reduces_to:
            if limit.to == spec.name != other.name:
                up.setdefault(other.name, []).append(text(limit.why))
    drawing = limits.around(spec, lambda name: f"{name}.html")
    return _listed("What it reduces to", down) + _listed("What reduces to it", up) + drawing


def _listed(title: str, found: dict[str, list[str]]) -> str:
    rows = [f"* [`{name}`]({name}.md): {'; or, '.join(reasons)}." for name, reasons in found.items()]
    return "\n".join((f"## {title}\n", *rows, "\n")) if rows else ""


def _instance(spec: Objective, limit: Limit) -> str:
    """Both sides as calls, where it is the same batch."""
    if limit.batch is not SAME:
        return ""
    values = dict(spec.values)
    changed = {name: value for name, value in limit.when(values).items() if value != values.get(name)}
    return f" ({_call(spec.name, changed)} is {_call(limit.to, dict(limit.then(values)))})"


def _call(name: str, values: dict[str, Any]) -> str:
    words = ", ".join(f"{key}={value!r}" for key, value in values.items())
    return f"`poz.{name}.bind({words})`" if words else f"`poz.{name}`"


def _published(spec: Objective) -> str:
    rows = [
        ("; ".join(f"`{name}` {', '.join(map(str, tried))}" for name, tried in values.items()), text(where))
        for where, values in spec.published
    ]
    return "## Published values\n\n" + table(("values", "where"), rows) if rows else ""


def _deviations(spec: Objective) -> str:
    rows = [[*map(text, deviation)] for deviation in spec.deviations]
    return "## Who deviates\n\n" + table(("who", "does what", "here"), rows) if rows else ""


def _elsewhere(spec: Objective) -> str:
    own = peers.together(record for record in peers.results()["records"] if record.get("objective") == spec.name)
    rows = [
        (
            text(f"{record['library']} {record['version']}"),
            f"`{record['function']}`" if record.get("function") else text(record["does"]),
            text(peers.described(record, does=True)),
        )
        for record in own
    ]
    intro = "What `poz audit` found of the functions of other libraries; [the others](../peers.md)."
    return (
        f"## Who computes it elsewhere\n\n{intro}\n\n" + table(("library", "function or fact", "verdict"), rows)
        if rows
        else ""
    )


def _constant(spec: Objective) -> str:
    said = [f"Held constant in the gradient: {text(spec.gradient_stops)}."] if spec.gradient_stops else []
    said += [f"Defined over the whole batch: {text(spec.coupled)}."] if spec.coupled else []
    said += [f"What it rests on: {text(spec.basis)}"] if spec.basis else []
    return "\n\n".join(("## Small print", *said))


def _values(spec: Objective) -> str:
    rows = [
        (_inputs(example.fields), _inputs(example.params), "<br>".join(example.losses))
        for example in witnesses.examples(spec)
    ]
    intro = (
        f"The textbook formula in 50 digits, of which {witnesses.DIGITS} are shown, without code of poz. `poz cases "
        f"{spec.name}` gives more, with gradients, as JSON, and `poz.testing.conform` checks an implementation of yours."
    )
    return f"## Values to check against\n\n{intro}\n\n" + table(("inputs", "hyper-parameters", "losses"), rows)


def _inputs(values: dict[str, Any]) -> str:
    return "<br>".join(f"`{name}` {text(value)}" for name, value in values.items())


def _sources(spec: Objective) -> Iterator[str]:
    family = spec.family.__module__.rpartition(".")[2]
    for folder, title in (
        ("reference", "The reference"),
        ("poz/objectives", "The objective"),
        ("kernels", "The kernel"),
    ):
        file = ROOT / folder / family / f"{spec.name}.py"
        if file.exists():
            body = _indented(code(file))
            summary = f"{folder}/{family}/{spec.name}.py"
            fold = "???+" if folder == "reference" else "???"
            yield f'## {title} {{ data-search-exclude }}\n\n{fold} quote "`{summary}`"\n\n{body}'
