"""The one unit system (mm, N, MPa, s, degC; density g/cm3) and the conversions at its edge."""

from __future__ import annotations

MM3_PER_ML = 1000.0
N_MM_PER_J = 1000.0
N_MM_PER_NM = 1000.0
MG_PER_G = 1000.0
MPA_PER_PSI = 6.894757e-3
S_PER_DAY = 86400.0

# Order of the six components of every symmetric tensor (VTK's). Strain carries engineering shear.
VOIGT = ("xx", "yy", "zz", "xy", "yz", "xz")
