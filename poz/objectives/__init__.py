"""One file per objective; the imports below, in order of publication, are the list that everything else follows."""

from poz.objectives.dpo import dpo as dpo
from poz.objectives.pro import pro as pro
from poz.objectives.ipo import ipo as ipo
from poz.objectives.cpl import cpl as cpl
from poz.objectives.cpl_ranking import cpl_ranking as cpl_ranking
from poz.objectives.simpo import simpo as simpo
from poz.objectives.vpo import vpo as vpo
from poz.objectives.inpo import inpo as inpo
from poz.objectives.mnpo import mnpo as mnpo
from poz.objectives.lcpo import lcpo as lcpo
