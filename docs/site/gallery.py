"""The gallery: a card for each objective, which says in its attributes what the filters ask for, and the form of these."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from html import escape

from thumbnails import thumbnail

import poz
from poz.kernels import plan
from poz.objective import Objective
from poz.purposes import PURPOSES

Address = Callable[[str], str]
"""From the name of an objective to its page."""


def gallery(address: Address) -> str:
    """The form, the line that says how many are left, and all cards, as HTML."""
    alone = {one.name for one in poz.zoo.find(reference_free=True)}
    cards = "\n".join(card(one, address, one.name in alone) for one in poz.zoo.values())
    count = f'<p id="poz-count" role="status">{len(poz.zoo)} objectives.</p>'
    return f'<div id="poz-gallery">\n{form()}\n{count}\n<ul class="poz-cards">\n{cards}\n</ul>\n</div>'


def card(objective: Objective, address: Address, free: bool) -> str:
    """One objective; `free` where it reads of no policy but the one that learns."""
    family, compiled = objective.family.__name__, objective.name in plan.FILES
    answers = [one.to for one in objective.answers]
    said = {
        "name": objective.name,
        "for": " ".join(answers),
        "family": family,
        "reads": " ".join(sorted(objective.reads | objective.optional)),
        "free": "yes" if free else "no",
        "kernel": "yes" if compiled else "no",
        "text": plain(" ".join((objective.name, objective.title, *objective.aliases))),
    }
    data = " ".join(f'data-{key}="{escape(value)}"' for key, value in said.items())
    facts = [year(objective), family, "no other policy" if free else "with reference", *["kernel"] * compiled]
    tags = "".join(f'<li title="{escape(PURPOSES[to])}">{to}</li>' for to in answers)
    return (
        f'<li class="poz-card" {data}>'
        f'<h2><a href="{escape(address(objective.name))}">{objective.name}</a></h2>'
        f'<p class="poz-title">{escape(objective.title)}</p>'
        + (f'<p class="poz-also">also {escape(", ".join(objective.aliases))}</p>' if objective.aliases else "")
        + thumbnail(objective)
        + f'<p class="poz-facts">{escape(" · ".join(facts))}</p>'
        + (f'<ul class="poz-for" aria-label="What it is for">{tags}</ul>' if tags else "")
        + "</li>"
    )


def plain(text: str) -> str:
    """As text is searched: small letters, and no - or _ within names."""
    return re.sub("[-_]", "", text.lower())


def year(objective: Objective) -> str:
    """Of the paper's first version, which an arXiv identifier begins with."""
    found = re.fullmatch(r"arXiv:(\d\d)\d\d\.\d+", objective.paper)
    return f"20{found[1]}" if found else objective.paper


def form() -> str:
    """What can be asked for. The script shows it, for without that it would do nothing."""
    every = list(poz.zoo.values())
    purposes = Counter(one.to for objective in every for one in objective.answers)
    fields = Counter(field for one in every for field in one.reads | one.optional)
    families = Counter(one.family.__name__ for one in every)
    return f"""<form id="poz-filters" aria-label="Filters" autocomplete="off" hidden>
<label>Name, title or alias<input type="search" name="text"></label>
<label>Family{_select("family", "any", ((name, f"{name} ({n})") for name, n in families.most_common()))}</label>
<label>Reference policy{_select("reference-free", "either", (("yes", "not needed"), ("no", "needed")))}</label>
<label>Kernel{_select("kernel", "either", (("yes", "has one"), ("no", "has none")))}</label>
<button type="button" id="poz-reset">Reset</button>
{_boxes("for", "What it is for", ((to, f"<b>{to}</b>: {escape(text)}", purposes[to]) for to, text in PURPOSES.items()))}
{_boxes("reads", "Fields that it reads", ((field, f"<code>{field}</code>", fields[field]) for field in sorted(fields)))}
</form>"""


def _select(name: str, none: str, options: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<select name="{name}"><option value="">{none}</option>{inner}</select>'


def _boxes(name: str, what: str, options: Iterable[tuple[str, str, int]]) -> str:
    inner = "".join(
        f'<label><input type="checkbox" name="{name}" value="{value}"><span>{text} <small>({count})</small></span></label>'
        for value, text, count in options
    )
    return (
        f'<details><summary>{what}: <span class="poz-chosen"></span></summary>'
        f'<fieldset class="poz-boxes poz-boxes-{name}"><legend>{what}: all of these</legend>{inner}</fieldset></details>'
    )


def pages() -> dict[str, str]:
    """The page."""
    head = "---\nhide: [navigation, toc]\n---\n\n# Gallery\n\n"
    about = (
        "All objectives in order of publication. Pictures are of the defaults: the loss on the left, the gradient on the right, "
        "each on a scale of its own, against the margin of chosen over rejected from -10 to 10 nats where nothing else is said. "
        "The address keeps the filters, so it can be sent on; `poz list` and `poz.zoo.find` filter alike. What a purpose means, "
        "and why an objective is said to serve it: [Which objective when](choose.md).\n\n"
    )
    script = '\n\n<script src="site/assets/gallery.js"></script>\n'
    return {"gallery.md": head + about + gallery(lambda name: f"objectives/{name}.html") + script}
