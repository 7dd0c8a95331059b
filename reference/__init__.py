"""Every objective once more, in float64 NumPy, written from its paper with its gradient derived by hand.

A reference takes arrays by field name and returns ``(losses, grads)``: the losses of the examples, shape (B,), and for
every log-prob field it was given the derivative of the summed losses. It is slow, plain and alone: nothing here is
shared with the code it checks.
"""

from poz.reference.cpl import cpl as cpl
from poz.reference.cpl_ranking import cpl_ranking as cpl_ranking
from poz.reference.dpo import dpo as dpo
from poz.reference.inpo import inpo as inpo
from poz.reference.ipo import ipo as ipo
from poz.reference.lcpo import lcpo as lcpo
from poz.reference.mnpo import mnpo as mnpo
from poz.reference.pro import pro as pro
from poz.reference.simpo import simpo as simpo
from poz.reference.vpo import vpo as vpo
