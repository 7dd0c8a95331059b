"""INPO, arXiv 2407.00617 eq. 8: IPO's square with two anchors, the reference and the current iterate."""

from poz.kernels.ipo import squared as squared
