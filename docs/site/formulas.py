r"""Formulas as MathML, which browsers draw without a script: \(...\) and \[...\] of a page's HTML, as arithmatex leaves them."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
PLAINER = (
    (re.compile(r"\\[bB]igg?[lr]?\\\||\\\|"), r"\\Vert "),
    (re.compile(r"_\{([a-zA-Z]{2,})\}"), r"_{\\mathrm{\1}}"),  # a word, not a product
    (re.compile(r"\\arg\\"), r"\\operatorname{arg}\\"),
)


def mathml(latex: str, display: str = "inline") -> str:
    """A formula as `<math>`.

    Raises:
        ValueError: Something in it is not understood.
    """
    plain = latex
    for pattern, instead in PLAINER:
        plain = pattern.sub(instead, plain)
    plain = re.sub(r"\\text\{[^}]*\}", lambda text: text[0].replace(r"\_", "_").replace("`", ""), plain)
    made = convert(plain, display=display).replace(r"\{", "{").replace(r"\}", "}")  # behind \big
    if "\\" in made or "merror" in made:
        raise ValueError(f"The formula {latex} is not understood: {made}. Mend it, or docs/site/formulas.py.")
    return made


def drawn(page: str) -> str:
    """A page's HTML with its formulas as MathML."""

    def one(match: re.Match[str]) -> str:
        tag, kind, latex = match.groups()
        if kind == "(":
            return mathml(html.unescape(latex))
        return f'<{tag} class="formula">{lines(html.unescape(latex))}</{tag}>'

    return FORMULA.sub(one, page)


def lines(latex: str) -> str:
    """A displayed formula, in pieces between which a line may break: the loss, and what its letters are."""
    return "".join(f"<span>{mathml(piece.strip(), 'block')}</span>" for piece in re.split(r"(?<=[,;])\\quad", latex))
