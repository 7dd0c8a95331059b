"""All literal formulas and hand-worked rows, from the files of each group."""

import literal
import literal_g
import literal_l
import literal_t
import literal_u
import values
import values_g
import values_l
import values_t
import values_u

FORMULAS = literal.FORMULAS | literal_l.FORMULAS | literal_t.FORMULAS | literal_u.FORMULAS | literal_g.FORMULAS
HELD = literal_l.HELD | literal_t.HELD | literal_g.HELD
"""What a gradient holds constant."""
ROWS = [*values.ROWS, *values_l.ROWS, *values_t.ROWS, *values_u.ROWS, *values_g.ROWS]


def losses(name, fields, params):
    """Plain lists of numbers in, a list of losses out, in 50 digits."""
    return FORMULAS[name](**literal.exact(fields), **literal.exact(params))
