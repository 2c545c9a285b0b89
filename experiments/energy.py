"""Where the work goes while a specimen is driven: a ledger kept from one equilibrium to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kyphos import fem

from .bench import Bench

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ledger:
    """Energies on a path of equilibria so far, N mm; trapezoid rule over the steps.

    Two sides of one balance that share no number. What comes in is counted outside: pressure and volume of the
    cavities, forces and motions of the platens. What it does is counted inside: stress and strain at every point.

    Attributes
    ----------
    last
        The equilibrium it has reached.
    pressure_n_mm
        Work of the cavities' pressures: sum of p dV.
    load_n_mm
        Work of the platens; of a preload that is lifted, negative.
    stored_n_mm
        Growth of the elastic energy: of what unloading would give back at once.
    spent_n_mm
        The rest of the work of stress: crushing, damage, and what crushed bone locks in.
    """

    last: fem.Equilibrium
    pressure_n_mm: float = 0.0
    load_n_mm: float = 0.0
    stored_n_mm: float = 0.0
    spent_n_mm: float = 0.0

    @property
    def error(self) -> float:
        """Imbalance over the larger side: 0 where all work is accounted for."""
        outside, inside = self.pressure_n_mm + self.load_n_mm, self.stored_n_mm + self.spent_n_mm
        return (outside - inside) / max(abs(outside), abs(inside), 1e-12)

    def after(self, bench: Bench, found: fem.Equilibrium) -> Ledger:
        """The ledger one equilibrium later, at ``bench``; cells and laws must be those of the one before."""
        old, structure = self.last, bench.structure
        work = fem.stress_work(structure.mesh, old.evaluation, found.evaluation)
        remembers = bench.field.remembers
        kept = elastic_energy(bench, found) - elastic_energy(bench, old)
        stored = np.where(remembers, kept, work)  # a law without memory stores all
        pressure = 0.5 * (found.state.pressure_mpa + old.state.pressure_mpa)
        return replace(
            self,
            last=found,
            pressure_n_mm=self.pressure_n_mm + float(pressure @ (found.evaluation.volume_mm3 - _volume(old))),
            load_n_mm=self.load_n_mm + _platen_work(structure, old, found),
            stored_n_mm=self.stored_n_mm + float(stored.sum()) + _in_links(bench, found) - _in_links(bench, old),
            spent_n_mm=self.spent_n_mm + float((work - stored).sum()),
        )


def elastic_energy(bench: Bench, found: fem.Equilibrium) -> Array:
    """(m,) elastic energy T : E_e / 2 of every cell, N mm; of no meaning where a law without memory is not linear."""
    evaluation = found.evaluation
    elastic = evaluation.strain - bench.field.inelastic_strain(found.state.history)
    density = 0.5 * np.einsum("mqi,mqi->mq", evaluation.response.stress, elastic)
    return np.asarray(np.einsum("mq,mq->m", bench.structure.mesh.weight, density))


def _in_links(bench: Bench, found: fem.Equilibrium) -> float:
    """Elastic energy of ligaments and facets, N mm."""
    links = bench.structure.links
    if links is None:
        return 0.0
    parts = links.parts(bench.mesh.points_mm + found.state.displacement_mm, np.zeros(0))
    return sum(parts[name].energy for name in ("springs", "stops") if name in parts)


def _volume(found: fem.Equilibrium) -> Array:
    return found.evaluation.volume_mm3


def _platen_work(structure: fem.Structure, old: fem.Equilibrium, new: fem.Equilibrium) -> float:
    """What the platens' forces and moments did to the specimen, N mm."""
    platens = slice(3 * structure.n_nodes, 3 * structure.n_nodes + 6 * len(structure.platens))
    force = 0.5 * (old.reactions_n[platens] + new.reactions_n[platens])
    return float(force @ (new.state.motion - old.state.motion).ravel())
