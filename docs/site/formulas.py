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
BEFORE = (
    r"(<mrow>|<mo[^>]*>(?:[(\[{,;=<>+:]|&#x0(?:0028|005B|007B|002C|003D|003C|2208|2265|2264);)</mo>|<mspace[^>]*/>)"
)
NAME = "(?:log|exp|min|max|arctan|cos|clip|sg|softmax|sign|std|logit)"
SPACED = (
    (re.compile(rf"(?<!<munder>)<mo>({NAME})</mo>"), r"<mi>\1</mi>"),  # a function, not a relation
    (re.compile(BEFORE + r"<mo>(?=&#x02212;)"), r'\1<mo form="prefix">'),  # a sign, not a difference
    (re.compile(r"<mo[^>]*>&#x0007C;</mo>"), '<mo stretchy="false" lspace="0" rspace="0">&#x0007C;</mo>'),
    (re.compile(rf"(<mi>{NAME}</mi>)(?!<mo)"), r'\1<mspace width="0.17em"/>'),
    (
        re.compile(rf"((?:</mi>|</mn>|</msub>|</mfrac>|</mstyle>|&#x00029;</mo>))(?=<mi>{NAME}</mi>)"),
        r'\1<mspace width="0.17em"/>',
    ),
)
"""What MathML leaves to the writer: of signs, of bars, and around the name of a function."""


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
    for pattern, instead in SPACED:
        made = pattern.sub(instead, made)
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
    return "".join(f"<span>{mathml(piece, 'block')}</span>" for piece in pieces(latex))


def pieces(latex: str) -> list[str]:
    """A formula cut behind the commas and semicolons that have a space behind them and stand in no brackets."""
    made, depth, start = [], 0, 0
    for found in re.finditer(r"\\[{}]|[(\[{]|[)\]}]|[,;](?:\\quad|\\ )", latex):
        mark = found[0]
        if mark[0] in ",;":
            if not depth:
                made.append(latex[start : found.start() + 1])
                start = found.end()
        else:
            depth += 1 if mark[-1] in "([{" else -1
    return [piece.strip() for piece in (*made, latex[start:])]
