"""Room ``fem`` of Kyphos: how it is solved.

Displacements become logarithmic strains at all quadrature points at once; any batch law turns those into
stresses; this room turns stresses into forces, stiffness and equilibrium. ``solve_static`` is the short
way in.
"""

if __name__ != "kyphos.fem":
    raise ImportError("import kyphos.fem, not fem: two copies of a class would not match")

from kyphos.threads import use_threads

from . import voxel
from .cycles import CycleSettings, CycleState, run_cycles
from .discretisation import FORMULATIONS, Discretisation, Part, discretise, joined
from .elements import ELEMENTS, Element
from .linear import DirectSolver, LaggedDirectSolver, LinearSolver, SolverRecord
from .links import Cables, Links, Pulled, Springs, Stops, carried_points, point_weights, stops_at_rest
from .loads import FACES, boundary_faces, pressure_forces, traction_forces
from .march import MarchSettings, Step, march, settle
from .measure import cauchy_stress, cell_pressure, cell_volumes, reactions, stress_work, von_mises
from .multigrid import AutomaticSolver, MultigridSolver
from .newton import Equilibrium, NewtonSettings, solve_equilibrium
from .process import tuned_process
from .recover import nodal_average
from .rigid import Platen, applied_moment, conjugate_moment, moved_centre, platen_displacement, rotation, spin
from .solve import StaticResult, prescribe, solve_static
from .structure import FREEDOMS, Cavity, Evaluation, Load, Material, Response, State, Structure
from .ties import EquationError, Ties, solve_ties

__all__ = [
    "ELEMENTS",
    "FACES",
    "FORMULATIONS",
    "FREEDOMS",
    "AutomaticSolver",
    "Cables",
    "Cavity",
    "CycleSettings",
    "CycleState",
    "DirectSolver",
    "Discretisation",
    "Element",
    "EquationError",
    "Equilibrium",
    "Evaluation",
    "LaggedDirectSolver",
    "LinearSolver",
    "Links",
    "Load",
    "MarchSettings",
    "Material",
    "MultigridSolver",
    "NewtonSettings",
    "Part",
    "Platen",
    "Pulled",
    "Response",
    "SolverRecord",
    "Springs",
    "State",
    "StaticResult",
    "Step",
    "Stops",
    "Structure",
    "Ties",
    "applied_moment",
    "boundary_faces",
    "carried_points",
    "cauchy_stress",
    "cell_pressure",
    "cell_volumes",
    "conjugate_moment",
    "discretise",
    "joined",
    "march",
    "moved_centre",
    "nodal_average",
    "platen_displacement",
    "point_weights",
    "prescribe",
    "pressure_forces",
    "reactions",
    "rotation",
    "run_cycles",
    "settle",
    "solve_equilibrium",
    "solve_static",
    "solve_ties",
    "spin",
    "stops_at_rest",
    "stress_work",
    "traction_forces",
    "tuned_process",
    "use_threads",
    "von_mises",
    "voxel",
]
