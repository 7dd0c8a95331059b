"""Every objective once more, in float64 NumPy, written from its paper with its gradient derived by hand.

A reference takes arrays by field name and returns ``(losses, grads)``: the losses of the examples, shape (B,), and for
every log-prob field it was given the derivative of the summed losses. It is slow, plain and alone: nothing here is
shared with the code it checks.
"""

from poz.reference.alpha_po import alpha_po as alpha_po
from poz.reference.alt_po import alt_po as alt_po
from poz.reference.arpo import arpo as arpo
from poz.reference.bpo import bpo as bpo
from poz.reference.cal_dpo import cal_dpo as cal_dpo
from poz.reference.cell import cell as cell
from poz.reference.chi_po import chi_po as chi_po
from poz.reference.cpl import cpl as cpl
from poz.reference.cpl_ranking import cpl_ranking as cpl_ranking
from poz.reference.cpo import cpo as cpo
from poz.reference.dil import dil as dil
from poz.reference.discopop import discopop as discopop
from poz.reference.dno import dno as dno
from poz.reference.dove import dove as dove
from poz.reference.dpo import dpo as dpo
from poz.reference.dpo_gamma import dpo_gamma as dpo_gamma
from poz.reference.dpo_shift import dpo_shift as dpo_shift
from poz.reference.dpop import dpop as dpop
from poz.reference.exo import exo as exo
from poz.reference.exo_k import exo_k as exo_k
from poz.reference.f_dpo import f_dpo as f_dpo
from poz.reference.gpo_link import gpo_link as gpo_link
from poz.reference.h_dpo import h_dpo as h_dpo
from poz.reference.hinge import hinge as hinge
from poz.reference.hypo import hypo as hypo
from poz.reference.inpo import inpo as inpo
from poz.reference.ipo import ipo as ipo
from poz.reference.lcpo import lcpo as lcpo
from poz.reference.ln_dpo import ln_dpo as ln_dpo
from poz.reference.mallows_dpo import mallows_dpo as mallows_dpo
from poz.reference.minor_dpo import minor_dpo as minor_dpo
from poz.reference.mm_dpo import mm_dpo as mm_dpo
from poz.reference.mnpo import mnpo as mnpo
from poz.reference.modpo import modpo as modpo
from poz.reference.odpo import odpo as odpo
from poz.reference.orpo import orpo as orpo
from poz.reference.padll import padll as padll
from poz.reference.pro import pro as pro
from poz.reference.r_dpo import r_dpo as r_dpo
from poz.reference.rainbow_po import rainbow_po as rainbow_po
from poz.reference.rebel import rebel as rebel
from poz.reference.repo import repo as repo
from poz.reference.reward_aware_po import reward_aware_po as reward_aware_po
from poz.reference.robust_dpo import robust_dpo as robust_dpo
from poz.reference.rpo_regularized import rpo_regularized as rpo_regularized
from poz.reference.rrhf import rrhf as rrhf
from poz.reference.selm import selm as selm
from poz.reference.sim_npo import sim_npo as sim_npo
from poz.reference.simper import simper as simper
from poz.reference.simpo import simpo as simpo
from poz.reference.slic_hf import slic_hf as slic_hf
from poz.reference.spce import spce as spce
from poz.reference.tis_dpo import tis_dpo as tis_dpo
from poz.reference.tpo import tpo as tpo
from poz.reference.vpo import vpo as vpo
from poz.reference.wpo import wpo as wpo
from poz.reference.xpo import xpo as xpo
