"""The constitutive laws: what each one needs, remembers and computes.

A law is data plus one compiled kernel. All laws are functions of the logarithmic strain E and return its
conjugate stress T (per reference volume), the tangent dT/dE and a trial state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from kyphos.errors import MaterialError
from kyphos.units import S_PER_DAY

from .kernels import bone, cement, elastic, fibres, hyperelastic, interface, plastic
from .softening import crack_softening, crush_softening

Floats = NDArray[np.float64]
Kernel = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One constant of a law: name (ends in its unit), unit, physical range, meaning."""

    name: str
    unit: str
    low: float
    high: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Variable:
    """One history variable: name, number of components, meaning."""

    name: str
    size: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Law:
    """One constitutive law.

    `pack` turns parameters (k, p) into the kernel's constants (k, c); `kernel` works on all points of many
    cells. `state` lists the history variables in the order of the state vector, all zero at the start.
    """

    name: str
    meaning: str
    parameters: tuple[Parameter, ...]
    state: tuple[Variable, ...]
    pack: Callable[[Floats], Floats]
    kernel: Kernel

    @property
    def state_size(self) -> int:
        """Components of the state vector."""
        return sum(variable.size for variable in self.state)

    def place(self, name: str) -> slice | None:
        """Where the variable `name` lies in the state vector, or None if this law has none."""
        start = 0
        for variable in self.state:
            if variable.name == name:
                return slice(start, start + variable.size)
            start += variable.size
        return None

    def row(self, **values: float) -> Floats:
        """Parameters (p,) in the order of the law.

        Raises
        ------
        MaterialError
            A name is missing or unknown, or a value lies outside its physical range.
        """
        names = [parameter.name for parameter in self.parameters]
        wrong = sorted(set(names) ^ set(values))
        if wrong:
            raise MaterialError(
                f"{self.name}: parameter {wrong[0]!r} is missing or unknown; it takes {', '.join(names)}"
            )
        row = np.array([values[name] for name in names], dtype=np.float64)
        self.check(row[None, :])
        return row

    def check(self, parameters: Floats) -> None:
        """Raise MaterialError unless parameters (k, p) are finite and inside their physical ranges."""
        if parameters.ndim != 2 or parameters.shape[1] != len(self.parameters):
            raise MaterialError(
                f"{self.name}: parameters have shape {parameters.shape}; expected (cells, {len(self.parameters)})"
            )
        for column, parameter in zip(parameters.T, self.parameters, strict=True):
            bad = np.flatnonzero(~((column >= parameter.low) & (column <= parameter.high)))
            if bad.size:
                raise MaterialError(
                    f"{self.name}: {parameter.name}={column[bad[0]]:g} (row {bad[0]}, {bad.size} in all) "
                    f"is outside [{parameter.low:g}, {parameter.high:g}] {parameter.unit}; "
                    "check its unit and its card"
                )


_MODULUS = (1e-6, 1e6)


def _modulus(name: str, meaning: str) -> Parameter:
    return Parameter(name, "MPa", *_MODULUS, meaning)


def _isotropic_stiffness(young_mpa: Floats, poisson: Floats) -> Floats:
    """Stiffness blocks (k, 9), MPa, of isotropic solids."""
    shear = young_mpa / (2.0 * (1.0 + poisson))
    lame = 2.0 * shear * poisson / (1.0 - 2.0 * poisson)
    normal = lame + 2.0 * shear
    return np.stack([normal] * 3 + [lame] * 3 + [shear] * 3, axis=1)


def _invert_blocks(blocks: Floats) -> Floats:
    """Inverse of compliance or stiffness blocks (k, 9)."""
    full = np.zeros((blocks.shape[0], 3, 3))
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
    for place, (i, j) in enumerate(pairs):
        full[:, i, j] = full[:, j, i] = blocks[:, place]
    smallest = np.linalg.eigvalsh(full)[:, 0]
    if (smallest <= 0.0).any():
        raise MaterialError(
            "TransverselyIsotropic: Poisson's ratios give an energy that is not positive; "
            "each must satisfy nu_ij^2 < E_i/E_j, try smaller ones"
        )
    inverse = np.linalg.inv(full)
    normal = [inverse[:, i, j] for i, j in pairs]
    return np.stack(normal + [1.0 / blocks[:, 6 + i] for i in range(3)], axis=1)


def _pack_linear_elastic(p: Floats) -> Floats:
    return _isotropic_stiffness(p[:, 0], p[:, 1])


def _pack_orthotropic(p: Floats) -> Floats:
    e1, e2, e3, nu12, nu13, nu23, g12, g13, g23 = p.T
    # axis 1 is z (the bone's axis), 2 is x, 3 is y; blocks run xx yy zz, xy yz xz
    compliance = np.stack([1 / e2, 1 / e3, 1 / e1, -nu23 / e2, -nu13 / e1, -nu12 / e1, g23, g13, g12], axis=1)
    compliance[:, 6:] = 1.0 / compliance[:, 6:]
    return _invert_blocks(compliance)


def _pack_plain(p: Floats) -> Floats:
    return p.copy()


def _pack_j2(p: Floats) -> Floats:
    """Bulk and shear modulus in place of Young's modulus and Poisson's ratio, then what follows."""
    bulk = p[:, 0] / (3.0 * (1.0 - 2.0 * p[:, 1]))
    shear = p[:, 0] / (2.0 * (1.0 + p[:, 1]))
    return np.concatenate([np.stack([bulk, shear], axis=1), p[:, 2:]], axis=1)


def _pack_ductile(p: Floats) -> Floats:
    return np.insert(_pack_j2(p), 4, 0.0, axis=1)  # no kinematic hardening


def _lame(young_mpa: Floats, poisson: Floats) -> tuple[Floats, Floats]:
    """Lame's two moduli (k,), MPa."""
    shear = young_mpa / (2.0 * (1.0 + poisson))
    return 2.0 * shear * poisson / (1.0 - 2.0 * poisson), shear


def _pack_brittle(p: Floats) -> Floats:
    young, poisson, tensile, crack_energy, crush, plateau, crush_energy = p[:, :7].T
    fatigue, per_day, length = p[:, 7:13], p[:, 13], p[:, 14]
    lame, shear = _lame(young, poisson)
    what = "BrittleCement: tension"
    beta = crack_softening(what, crack_energy, tensile, lame + 2.0 * shear, poisson, length)
    drop = (1.0 - plateau) * crush
    strain = crush_softening("BrittleCement: compression", crush_energy, drop, young, length)
    first = np.stack([lame, shear, tensile, beta * tensile, crush, plateau, strain], axis=1)
    return np.concatenate([first, fatigue, per_day[:, None] / S_PER_DAY], axis=1)


def _pack_interface(p: Floats) -> Floats:
    young, poisson, tensile, sliding, open_energy, slip_energy, friction = p[:, :7].T
    normal, length = p[:, 7:10], p[:, 10]
    if (np.abs(np.linalg.norm(normal, axis=1) - 1.0) > 1e-6).any():
        raise MaterialError("BondedInterface: a normal is not of unit length; divide normal_x, _y and _z by its length")
    lame, shear = _lame(young, poisson)
    beta = crack_softening("BondedInterface: tension", open_energy, tensile, lame + 2.0 * shear, poisson, length)
    slip = crack_softening("BondedInterface: shear", slip_energy, sliding, shear, np.zeros_like(poisson), length)
    return np.concatenate([np.stack([lame, shear, tensile, sliding, beta, slip, friction], axis=1), normal], axis=1)


def _check_directions(what: str, directions: Floats) -> None:
    """Raise unless each of (k, n, 3) has unit length."""
    if (np.abs(np.linalg.norm(directions, axis=-1) - 1.0) > 1e-6).any():
        raise MaterialError(f"{what}: a direction is not of unit length; divide its x, y and z by its length")


def _pack_linear_fibres(p: Floats) -> Floats:
    _check_directions("FibredGround", p[:, 6:].reshape(-1, 2, 3))
    # a family has half of the fibres
    kind, modulus, nothing = np.full(len(p), fibres.LINEAR), 0.5 * p[:, 3] * p[:, 4], np.zeros(len(p))
    return np.column_stack([p[:, :3], kind, modulus, p[:, 5], nothing, p[:, 6:]])


def _pack_exponential_fibres(p: Floats) -> Floats:
    _check_directions("HolzapfelGround", p[:, 6:].reshape(-1, 2, 3))
    return np.insert(p, 3, fibres.EXPONENTIAL, axis=1)


def _pack_table(p: Floats, kinematic: bool) -> Floats:
    strain, stress = p[:, 2::2], p[:, 3::2]
    if (strain[:, 0] != 0.0).any() or (np.diff(strain) <= 0.0).any() or (np.diff(stress) < 0.0).any():
        raise MaterialError(
            "PlasticityByTable: plastic strains must start at 0 and grow, stresses must not fall "
            "(softening has no length scale here); sort the table, or end it at its peak"
        )
    return np.insert(_pack_j2(p), 2, float(kinematic), axis=1)


def _fabric_block(ratio_x: Floats, ratio_y: Floats, poisson: Floats, power: float) -> Floats:
    """Isotropic compliance of unit modulus, seen through fabric: entry ij divided by (r_i r_j)^power.

    power 1/2 gives the orthotropic elasticity of Zysset & Curnier 1995 (E_i = r_i E1), power 1 the quadric
    of stresses scaled by r_i, so that the yield strain is the same along every axis.
    """
    x, y, z = ratio_x**power, ratio_y**power, np.ones_like(ratio_x)
    shear, pairs = 2.0 * (1.0 + poisson), (x * y, y * z, x * z)
    return np.stack(
        [*(1.0 / (a * a) for a in (x, y, z)), *(-poisson / p for p in pairs), *(shear / p for p in pairs)],
        axis=1,
    )


def _pack_bone(p: Floats) -> Floats:
    modulus, ratio_x, ratio_y, poisson, poisson_plastic, strength = p[:, :6].T
    compliance = _fabric_block(ratio_x, ratio_y, poisson, 0.5)
    surface = _fabric_block(ratio_x, ratio_y, poisson_plastic, 1.0)
    scalars = np.stack([modulus, strength / modulus], axis=1)
    return np.concatenate([compliance, surface, scalars, p[:, 6:]], axis=1)


_POISSON = Parameter("poisson_ratio", "1", -0.5, 0.49999, "Poisson's ratio")

LINEAR_ELASTIC = Law(
    name="LinearElastic",
    meaning="Isotropic linear elasticity in logarithmic strain (Hencky's solid).",
    parameters=(_modulus("youngs_modulus_mpa", "Young's modulus"), _POISSON),
    state=(),
    pack=_pack_linear_elastic,
    kernel=elastic.elastic_batch,
)

TRANSVERSELY_ISOTROPIC = Law(
    name="TransverselyIsotropic",
    meaning="Orthotropic elasticity in the global axes; 1 is z (the bone's axis), 2 is x, 3 is y. "
    "nu_ij is the contraction along j per extension along i.",
    parameters=(
        _modulus("youngs_modulus_1_mpa", "along z"),
        _modulus("youngs_modulus_2_mpa", "along x"),
        _modulus("youngs_modulus_3_mpa", "along y"),
        Parameter("poisson_ratio_12", "1", -1.0, 1.5, "contraction along x per extension along z"),
        Parameter("poisson_ratio_13", "1", -1.0, 1.5, "contraction along y per extension along z"),
        Parameter("poisson_ratio_23", "1", -1.0, 1.5, "contraction along y per extension along x"),
        _modulus("shear_modulus_12_mpa", "in the zx plane"),
        _modulus("shear_modulus_13_mpa", "in the zy plane"),
        _modulus("shear_modulus_23_mpa", "in the xy plane"),
    ),
    state=(),
    pack=_pack_orthotropic,
    kernel=elastic.elastic_batch,
)

MOONEY_RIVLIN = Law(
    name="MooneyRivlin",
    meaning="W = C10 (I1bar - 3) + C01 (I2bar - 3) + K/2 (ln J)^2; shear modulus at rest 2 (C10 + C01).",
    parameters=(
        Parameter("c10_mpa", "MPa", 0.0, 1e4, "first Mooney-Rivlin constant"),
        Parameter("c01_mpa", "MPa", 0.0, 1e4, "second Mooney-Rivlin constant"),
        _modulus("bulk_modulus_mpa", "bulk modulus"),
    ),
    state=(),
    pack=_pack_plain,
    kernel=hyperelastic.mooney_rivlin_batch,
)

DRAINING_SOLID = Law(
    name="DrainingSolid",
    meaning="""Mooney-Rivlin that gains and loses fluid in time: the nucleus of a disc.

W = C10 (I1bar - 3) + C01 (I2bar - 3) + K/2 (ln J - theta)^2, theta the log volume of fluid gained since the start.
d theta/dt = (theta_eq - theta)/tau, theta_eq = (p0 - p)/H, with p = -K (ln J - theta) the pressure: at constant
    pressure fluid leaves with the time tau, until swelling pressure p0 and drained modulus H bear it. Backward Euler.
    A point has no neighbours here: tau stands for the way out of the whole nucleus.""",
    parameters=(
        Parameter("c10_mpa", "MPa", 0.0, 1e4, "first Mooney-Rivlin constant"),
        Parameter("c01_mpa", "MPa", 0.0, 1e4, "second Mooney-Rivlin constant"),
        _modulus("bulk_modulus_mpa", "K, bulk modulus without flow"),
        _modulus("drained_modulus_mpa", "H, change of pressure per log volume of fluid, in equilibrium"),
        Parameter("creep_time_s", "s", 1e-3, 1e9, "tau"),
        Parameter("swelling_pressure_mpa", "MPa", 0.0, 5.0, "p0, pressure at which fluid neither leaves nor enters"),
    ),
    state=(Variable("fluid_strain", 1, "log volume of fluid gained"),),
    pack=_pack_plain,
    kernel=hyperelastic.draining_batch,
)

_GROUND = (
    Parameter("c10_mpa", "MPa", 0.0, 1e4, "first Mooney-Rivlin constant of the ground substance"),
    Parameter("c01_mpa", "MPa", 0.0, 1e4, "second Mooney-Rivlin constant of the ground substance"),
    _modulus("bulk_modulus_mpa", "bulk modulus of the ground substance"),
)
_DIRECTIONS = tuple(
    Parameter(f"fibre_{family}_{axis}", "1", -1.0, 1.0, f"direction of family {family} at rest, of unit length")
    for family in "ab"
    for axis in "xyz"
)

FIBRED_GROUND = Law(
    name="FibredGround",
    meaning="""Mooney-Rivlin ground with two families of fibres that bear tension only: the annulus of a disc.

W = W_ground + phi/2 sum over families of w(lambda), lambda^2 = a.C.a the squared stretch along a family's direction a.
Nominal stress of a fibre dw/dlambda: 0 below lambda = 1, E e^2/(2 t) in the toe 0 < e = lambda - 1 < t, E (e - t/2)
    beyond. Both families fill the share phi of the volume, half each.""",
    parameters=(
        *_GROUND,
        _modulus("fibre_modulus_mpa", "E, modulus of the fibres beyond their toe"),
        Parameter("fibre_fraction", "1", 0.0, 1.0, "phi, share of the volume in fibres of both families"),
        Parameter("toe_strain", "1", 1e-6, 1.0, "t, strain over which the fibres straighten"),
        *_DIRECTIONS,
    ),
    state=(),
    pack=_pack_linear_fibres,
    kernel=fibres.fibred_batch,
)

HOLZAPFEL_GROUND = Law(
    name="HolzapfelGround",
    meaning="""Mooney-Rivlin ground substance with two families of exponential, dispersed fibres.

W = W_ground + k1/(2 k2) sum over families of (exp(k2 <I - 1>^2) - 1), I = kappa tr C + (1 - 3 kappa) a.C.a (Gasser,
    Ogden & Holzapfel 2006, J R Soc Interface 3:15). C is not made isochoric: fibres feel the whole stretch (Nolan et
    al. 2014, J Mech Behav Biomed Mater 39:48).""",
    parameters=(
        *_GROUND,
        Parameter("k1_mpa", "MPa", 0.0, 1e4, "k1"),
        Parameter("k2", "1", 1e-6, 1e4, "k2"),
        Parameter("fibre_dispersion", "1", 0.0, 1.0 / 3.0, "kappa: 0 aligned, 1/3 isotropic"),
        *_DIRECTIONS,
    ),
    state=(),
    pack=_pack_exponential_fibres,
    kernel=fibres.fibred_batch,
)

FOAM = Law(
    name="Foam",
    meaning="""W = mu/2 (I1 - 3 - 2 ln J): neo-Hookean without lateral coupling (Ogden's and Storakers' foam, beta = 0).
Polyconvex, so a mesh of it stays stable however far it is stretched; E = 2 mu and nu = 0 at rest.""",
    parameters=(_modulus("shear_modulus_mpa", "shear modulus mu at rest"),),
    state=(),
    pack=_pack_plain,
    kernel=hyperelastic.foam_batch,
)

BALLOON_SKIN = Law(
    name="BalloonSkin",
    meaning="""Foam with tension-only fibres along x, y and z: W = mu/2 (I1 - 3 - 2 ln J) + sum of k_a/6 <C_aa - 1>^3.
Polyconvex as the foam is. Fibres are slack at rest; their energy grows with the sixth power of the stretch, so that
whatever has grown most grows least from there on.""",
    parameters=(
        _modulus("shear_modulus_mpa", "shear modulus mu of the foam at rest"),
        *(Parameter(f"fibre_{a}_mpa", "MPa", 0.0, 1e4, f"k of the fibres along {a}") for a in "xyz"),
    ),
    state=(),
    pack=_pack_plain,
    kernel=fibres.skin_batch,
)

J2_PLASTICITY = Law(
    name="J2Plasticity",
    meaning="Von Mises plasticity with linear isotropic and kinematic (Prager) hardening, radial return.",
    parameters=(
        _modulus("youngs_modulus_mpa", "Young's modulus"),
        _POISSON,
        Parameter("yield_stress_mpa", "MPa", 1e-9, 1e6, "initial yield stress"),
        Parameter("isotropic_hardening_mpa", "MPa", 0.0, 1e6, "d(yield stress)/d(plastic strain)"),
        Parameter("kinematic_hardening_mpa", "MPa", 0.0, 1e6, "d(back stress)/d(plastic strain)"),
    ),
    state=(
        Variable("plastic_strain", 6, "plastic strain, engineering shear"),
        Variable("kappa", 1, "accumulated equivalent plastic strain"),
    ),
    pack=_pack_j2,
    kernel=plastic.j2_batch,
)

_TABLE_STATE = (
    Variable("plastic_strain", 6, "plastic strain, engineering shear"),
    Variable("kappa", 1, "accumulated equivalent plastic strain"),
    Variable("back_stress_mpa", 6, "centre of the yield surface"),
)


@cache
def plasticity_by_table(points: int, kinematic: bool) -> Law:
    """Von Mises plasticity with a polygon of yield stress against accumulated plastic strain.

    Parameters
    ----------
    points
        Points of the polygon; it is constant after the last one.
    kinematic
        The yield surface moves instead of growing: its centre follows the plastic flow by as much as the table
        rises (Prager's rule with a modulus that depends on the accumulated plastic strain: Simo & Hughes 1998,
        Computational Inelasticity, box 3.1; for two points Prager's linear rule).

    Returns
    -------
    A law with parameters ``youngs_modulus_mpa``, ``poisson_ratio``, ``strain_1``, ``stress_1``, ... ``strain_N``,
    ``stress_N`` (stress in MPa). The same arguments give the same object.

    Raises
    ------
    MaterialError
        Fewer than one point. (A table that does not grow is refused when the material is set up.)
    """
    if points < 1:
        raise MaterialError(f"plasticity_by_table: points={points}; a table needs at least one")
    table = []
    for k in range(1, points + 1):
        table.append(Parameter(f"strain_{k}", "1", 0.0, 100.0, f"plastic strain of point {k}"))
        table.append(Parameter(f"stress_{k}", "MPa", 1e-9, 1e6, f"yield stress of point {k}"))
    kind = "kinematic" if kinematic else "isotropic"
    return Law(
        name=f"PlasticityByTable-{points}-{kind}",
        meaning=f"Von Mises plasticity, {kind} hardening by a table of {points} points, radial return.",
        parameters=(_modulus("youngs_modulus_mpa", "Young's modulus"), _POISSON, *table),
        state=_TABLE_STATE,
        pack=partial(_pack_table, kinematic=kinematic),
        kernel=plastic.table_batch,
    )


NORTON_CREEP = Law(
    name="NortonCreep",
    meaning="Isotropic elasticity and creep along the deviator: rate of the equivalent creep strain A s^n t^m, "
    "s von Mises stress, t time under load since the start (time hardening). Backward Euler in s, exact in t.",
    parameters=(
        _modulus("youngs_modulus_mpa", "Young's modulus"),
        _POISSON,
        Parameter("creep_coefficient", "MPa^-n s^-(m+1)", 0.0, 1e60, "A"),
        Parameter("stress_exponent", "1", 1.0, 50.0, "n"),
        Parameter("time_exponent", "1", -0.99, 10.0, "m"),
    ),
    state=(
        Variable("creep_strain", 6, "creep strain, engineering shear"),
        Variable("creep_strain_eq", 1, "equivalent creep strain"),
        Variable("time_s", 1, "time under load since the start"),
    ),
    pack=_pack_j2,
    kernel=plastic.norton_batch,
)

_FATIGUE = (
    Parameter("fatigue_reference_cycles", "1", 1.0, 1e12, "life at the reference stresses"),
    Parameter("fatigue_reference_stress_mpa", "MPa", 1e-6, 1e4, "von Mises stress whose life is the reference"),
    Parameter("fatigue_reference_tension_mpa", "MPa", 1e-6, 1e4, "tensile principal stress with that life"),
    Parameter("fatigue_exponent", "1", 1.0, 50.0, "Basquin exponent b"),
    Parameter("fatigue_damage_exponent", "1", 0.0, 50.0, "k: how late in its life the cement loses its stiffness"),
    Parameter("damage_cap", "1", 0.0, 0.999, "largest damage by fatigue"),
)
_LENGTH = Parameter("element_length_mm", "mm", 1e-4, 1e3, "length of the element across a crack; its own in a mesh")

DUCTILE_CEMENT = Law(
    name="DuctileCement",
    meaning="""Cement that yields and tires.

Plasticity: von Mises with linear isotropic hardening on the effective stress, T = (1 - D) s, s = C:(E - E_p),
    |s|_vM <= Y + H kappa (radial return); the strength falls with D.
Fatigue: D = min(cap, 1 - (1 - S)^(1/(k + 1))), S a Miner sum to which each cycle adds 1/N, N = N_ref u^-b (Basquin, no
    endurance limit), u the larger of T's von Mises stress over the reference and its tensile principal stress over the
    reference in tension, both at the last committed state.""",
    parameters=(
        _modulus("youngs_modulus_mpa", "Young's modulus"),
        _POISSON,
        Parameter("yield_stress_mpa", "MPa", 1e-6, 1e6, "yield stress"),
        Parameter("isotropic_hardening_mpa", "MPa", 0.0, 1e6, "d(yield stress)/d(plastic strain)"),
        *_FATIGUE,
    ),
    state=(
        Variable("plastic_strain", 6, "plastic strain, engineering shear"),
        Variable("kappa", 1, "accumulated equivalent plastic strain"),
        Variable("miner_sum", 1, "used share of the fatigue life"),
        Variable("fatigue_drive", 1, "u at the last evaluation"),
        Variable("damage", 1, "share of stiffness lost"),
    ),
    pack=_pack_ductile,
    kernel=cement.ductile_batch,
)

BRITTLE_CEMENT = Law(
    name="BrittleCement",
    meaning="""Cement that cracks in tension, crushes in compression, tires and is resorbed.

Split: e = E - E_c; t is the stress nearest to s = C:e in the energy norm with -Y <= t_i <= 0 (principal), so that
    the rest C^-1 (s - t) is strain of open cracks w (t_i = 0) and of crushing (t_i = -Y): a no-tension solid (Del
    Piero 1989, Meccanica 24:150) with a compressive cut-off.
Cracks: T = t + (1 - d) C:w, which damages the tensile part of the energy in the no-tension split (Freddi &
    Royer-Carfagni 2010, JMPS 58:1154): cracks that close bear compression with the full stiffness.
    Drive: x = sqrt(M w:C:w), M the constrained modulus: for a single crack the largest principal stress (Rankine);
    (1 - d) x = f_t exp(-(x - f_t)/(beta f_t)), d never falls. As d is driven by the energy that it releases, the
    tangent is symmetric (but where cracks and crushing meet in one point).
    f_t^2/M (1/2 + beta) = G_t/h: the crack spends its energy whatever the element's length h.
Crushing: E_c takes up crushing, kappa its sum; Y = f_c [r + (1 - r) exp(-kappa0/kappa_s)], kappa0 before the step
    (in the spirit of IMPL-EX: Oliver, Huespe & Cante 2008, CMAME 197:1865); kappa_s = G_c/(h (1 - r) f_c).
Fatigue and resorption: all of T times (1 - D) exp(-t/t_r), D as in DuctileCement, t time under load.""",
    parameters=(
        _modulus("youngs_modulus_mpa", "Young's modulus"),
        Parameter("poisson_ratio", "1", 0.0, 0.45, "Poisson's ratio"),
        Parameter("tensile_strength_mpa", "MPa", 1e-6, 1e4, "f_t"),
        Parameter("tensile_fracture_energy_n_per_mm", "N/mm", 1e-9, 1e3, "G_t, energy of a crack per area"),
        Parameter("compressive_strength_mpa", "MPa", 1e-6, 1e4, "f_c"),
        Parameter("plateau_ratio", "1", 0.01, 1.0, "r, what is left of f_c after crushing"),
        Parameter("crush_energy_n_per_mm", "N/mm", 1e-9, 1e4, "G_c, energy above the plateau per area"),
        *_FATIGUE,
        Parameter("resorption_per_day", "1/d", 0.0, 1.0, "1/t_r; half of the stiffness is gone after 0.69 t_r"),
        _LENGTH,
    ),
    state=(
        Variable("plastic_strain", 6, "crush strain, engineering shear"),
        Variable("kappa", 1, "accumulated crush strain"),
        Variable("crack_drive_mpa", 1, "largest x so far"),
        Variable("crack_damage", 1, "d, share of the tensile stiffness that cracks have taken"),
        Variable("miner_sum", 1, "used share of the fatigue life"),
        Variable("fatigue_drive", 1, "u at the last evaluation"),
        Variable("age_s", 1, "time under load"),
        Variable("damage", 1, "share of stiffness lost to fatigue and resorption; cracks take theirs in tension only"),
    ),
    pack=_pack_brittle,
    kernel=cement.brittle_batch,
)

BONDED_INTERFACE = Law(
    name="BondedInterface",
    meaning="""An elastic cell with a plane of weakness of normal n across it: a cohesive zone smeared over its length.

Tractions if all were bonded: s_n = n.C:E.n and the vector s_t along the plane. What has come apart bears no tension;
    pressed together it bears the pressure and, with friction, a shear traction up to mu |s_n| (stick and slip).
    T = (1 - d) C:E + d T_apart: a share d of the area is apart (Alfano & Sacco 2006, IJNME 68:542).
Debonding: x = sqrt((<s_n>/f_n)^2 + (|s_t|/f_s)^2), (1 - d) x = exp(-(x - 1)/beta), d never falls, with
    beta = (1 - m) beta_n + m beta_s, m = (s_t/(f_s x))^2 the share of slip; f_n^2/M (1/2 + beta_n) = G_n/h and
    f_s^2/G (1/2 + beta_s) = G_s/h, h the cell's length along n, M and G its constrained and shear moduli.
The tangent is not symmetric while the interface lets go in a mixed mode, or slides.""",
    parameters=(
        _modulus("youngs_modulus_mpa", "Young's modulus of the cell"),
        Parameter("poisson_ratio", "1", 0.0, 0.45, "Poisson's ratio of the cell"),
        Parameter("tensile_strength_mpa", "MPa", 1e-6, 1e4, "f_n"),
        Parameter("shear_strength_mpa", "MPa", 1e-6, 1e4, "f_s"),
        Parameter("tensile_fracture_energy_n_per_mm", "N/mm", 1e-9, 1e3, "G_n"),
        Parameter("shear_fracture_energy_n_per_mm", "N/mm", 1e-9, 1e3, "G_s"),
        Parameter("friction_coefficient", "1", 0.0, 2.0, "mu of what has come apart"),
        Parameter("normal_x", "1", -1.0, 1.0, "normal of the plane, of unit length"),
        Parameter("normal_y", "1", -1.0, 1.0, "normal of the plane"),
        Parameter("normal_z", "1", -1.0, 1.0, "normal of the plane"),
        _LENGTH,
    ),
    state=(
        Variable("slip", 3, "slip strain of what has come apart"),
        Variable("debonding", 1, "share of the area that has come apart"),
    ),
    pack=_pack_interface,
    kernel=interface.interface_batch,
)

CRUSHABLE_BONE = Law(
    name="CrushableBone",
    meaning="""Bone that crushes, softens, packs, is damaged, creeps and tires.

Elastic: orthotropic along the global axes (z the bone's axis), E_i = r_i E1, nu_ij/E_i = nu/sqrt(E_i E_j),
    G_ij = sqrt(E_i E_j)/(2 (1 + nu)) (Zysset & Curnier 1995, Mech Mater 21:243).
Quadric: phi^2 = sigma' P sigma, Deshpande & Fleck (2000, JMPS 48:1253) in the scaled stress
    sigma_ij/sqrt(r_i r_j) with plastic Poisson's ratio nu_p: P is the compliance of an isotropic solid of
    unit modulus and Poisson's ratio nu_p, and phi = |sigma| for uniaxial stress along z. The ratio nu_p is
    that of the scaled stress: crushing along z widens x by nu_p/r_x. The tension-compression asymmetry of
    bone (yield at 0.78 and 0.84 %) is neglected.
Plasticity: sigma = (1 - D) C0:(E - E_in), dE_in = dlambda P sigma/phi, kappa = sum dlambda, f <= 0 with
    f = phi/E1 + D'/2 s_hat' S0 s_hat - [Y/E1 + D'/2 (Y/((1 - D) E1))^2], s_hat = sigma/((1 - D) E1), S0 = E1 C0^-1,
    D' = dD/dkappa: a generalised standard material (Halphen & Nguyen 1975, J Mecanique 14:39), since what damage
    releases drives the flow as well. Uniaxial compression along z yields at Y whatever D'; stress that stores less
    energy at the same phi yields above it, up to a quarter more along x and y at first.
    Y = Y0 [r_pl + (1 - r_pl) exp(-kappa0/kappa_s) + k_d (e/e_d)^4], de = max(-tr dE_crush, 0): all volume that
    crushing has pressed out, which being drawn apart does not give back; kappa0 is that committed before the step,
    so that nothing lowers Y within it (in the spirit of IMPL-EX: Oliver, Huespe & Cante 2008, CMAME 197:1865;
    first order in the step).
    But for packing the tangent is symmetric without creep, and with it while no damage grows.
Damage: D = min(cap, D_max (1 - exp(-a kappa)) + D_f), of the modulus as packed: where this says 1 - D, read
    (1 - D) exp(q e0), at most 1, with e0 the compaction committed before the step; state `damage` is 1 minus that.
    An open-cell foam is as stiff as the square of its density (Gibson & Ashby 1982, Proc R Soc A 382:43).
Gaping: along an axis in tension C0 of crushed bone is that of uniaxial stiffness t E_i, t = 1 - (1 - t_c)
    (1 - exp(-a kappa0)): what crushing has broken parts without a memory of it, and bears again once it touches
    (crack closure, as Mazars & Pijaudier-Cabot 1989, J Eng Mech 115:345). P_ii is divided by the square of such
    a t, with t_s in place of t_c: of the strength along that axis, once D' = 0, t_s is left. What flows there, creep
    too, flows by that P, and what is drawn out stays. Convex: the tangent stays symmetric.
Springback: of each crush increment a share chi goes into three elements of the Kelvin chain, a third each, whose
    compliance grows by a third of chi kappa (1 - D) E1/Y each: in equilibrium under the crushing stress, and coming
    back over 1.6 to 160 tau once unloaded.
Creep, with s = phi/((1 - D) E1) along P sigma: c1 s ln(1 + t/tau), of which one share is irrecoverable
    (strain hardening) and the rest a Kelvin chain of five; plus the secondary rate A s_p^n, irrecoverable,
    with s_p = (phi/Y)(Y0/E1), the load relative to the current strength. Implicit: stress at the step's end;
    in the Kelvin chain a straight line between the stresses at start and end.
Fatigue: dD_f/dN = 1/(N_f (k + 1)(1 - D_f)^k), N_f = C s_p^-b, s_p^b the mean of the step's start and end;
    the stress of the step feels the damage that s_p at its start gives (explicit).""",
    parameters=(
        _modulus("axial_modulus_mpa", "Young's modulus along z"),
        Parameter("modulus_ratio_x", "1", 0.02, 5.0, "E_x over axial modulus"),
        Parameter("modulus_ratio_y", "1", 0.02, 5.0, "E_y over axial modulus"),
        Parameter("poisson_ratio", "1", -0.4, 0.49, "of the fabric-scaled elasticity"),
        Parameter("plastic_poisson_ratio", "1", -0.4, 0.45, "of the fabric-scaled flow"),
        Parameter("yield_stress_mpa", "MPa", 1e-9, 1e4, "axial strength Y0"),
        Parameter("plateau_ratio", "1", 0.05, 1.0, "plateau over peak"),
        Parameter("softening_strain", "1", 1e-5, 10.0, "kappa over which the peak decays to the plateau"),
        Parameter("densification_gain", "1", 0.0, 100.0, "k_d"),
        Parameter("densification_strain", "1", 0.05, 5.0, "logarithmic compaction e_d"),
        Parameter("damage_max", "1", 0.0, 0.95, "overload damage at saturation"),
        Parameter("damage_rate", "1", 0.0, 1e4, "a"),
        Parameter("damage_cap", "1", 0.0, 0.99, "largest damage of all kinds"),
        Parameter("creep_coefficient", "1", 0.0, 10.0, "c1"),
        Parameter("irrecoverable_share", "1", 0.0, 1.0, "share of primary creep that stays"),
        Parameter("creep_time_s", "s", 1e-6, 1e6, "tau"),
        Parameter("secondary_rate_per_s", "1/s", 0.0, 1e60, "A"),
        Parameter("secondary_exponent", "1", 1.0, 30.0, "n"),
        Parameter("fatigue_life_coefficient", "1", 1e-60, 1e6, "C, cycles"),
        Parameter("fatigue_life_exponent", "1", 1.0, 30.0, "b"),
        Parameter("fatigue_damage_exponent", "1", 0.0, 20.0, "k"),
        Parameter("springback_share", "1", 0.0, 0.9, "share of the crush strain that comes back in time once unloaded"),
        Parameter("tension_share", "1", 1e-3, 1.0, "share of its stiffness that crushed bone keeps in tension"),
        Parameter("tension_strength_share", "1", 1e-3, 1.0, "share of its strength that crushed bone keeps in tension"),
        Parameter("packing_exponent", "1", 0.0, 4.0, "q, of the modulus over the density as packed"),
    ),
    state=(
        Variable("plastic_strain", 6, "crush strain that stays and irrecoverable creep strain, engineering shear"),
        Variable("kappa", 1, "accumulated plastic multiplier"),
        Variable("compaction", 1, "volume pressed out by crushing, as a strain, that which springs back included"),
        Variable("primary_creep", 1, "irrecoverable primary creep multiplier"),
        Variable("creep_strain_eq", 1, "irrecoverable creep multiplier, primary and secondary"),
        Variable("fatigue_damage", 1, "damage by cycles"),
        Variable("s_peak", 1, "s_p at the last evaluation"),
        Variable("damage", 1, "total damage"),
        Variable("flow", 6, "P sigma / ((1 - D) E1) at the last evaluation"),
        Variable("kelvin_strain", 6 * bone.KELVIN, "recoverable creep and springback, five of six components"),
    ),
    pack=_pack_bone,
    kernel=bone.bone_batch,
)

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        LINEAR_ELASTIC,
        TRANSVERSELY_ISOTROPIC,
        MOONEY_RIVLIN,
        DRAINING_SOLID,
        FIBRED_GROUND,
        HOLZAPFEL_GROUND,
        FOAM,
        BALLOON_SKIN,
        J2_PLASTICITY,
        NORTON_CREEP,
        CRUSHABLE_BONE,
        DUCTILE_CEMENT,
        BRITTLE_CEMENT,
        BONDED_INTERFACE,
    )
}
