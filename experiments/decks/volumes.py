"""Cells of discs for codes without mean dilatation: their resistance to a change of volume as springs.

In a cell of mean dilatation (Nagtegaal, Parks & Rice 1974, Comput Methods Appl Mech Eng 4:153) the strain is
e + t m / 3, of a shape e that varies and a change of volume t that does not; m = (1, 1, 1, 0, 0, 0). With the
stiffness D, K = m.Dm / 9, and c, what of Dm / 3 changes the shape, its energy is

    1/2 int e.De  +  V (t c.<e> + K t^2 / 2)  =  1/2 int e.De  +  V/2 K (t + c.<e> / K)^2  -  V/2 (c.<e>)^2 / K

The integral is that of a fully integrated cell which does not resist changes of volume. The two squares, of means <>
over the cell, are springs between its nodes. The second has a negative stiffness; it is there where taut fibres couple
volume and shape.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kyphos import fem

from .outgoing import Array, Ids, LinearModel, Spring, stiffness_of

TOUGH = 5.0
"""Bulk over shear modulus, from which on a cell at rest is of a disc: Poisson's ratio 0.41."""
_COUPLED = 1e-6  # share of the bulk modulus
_VOLUME = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
_SHAPE = np.eye(6) - np.outer(_VOLUME, _VOLUME) / 3.0
_SIX_OF = np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])


def with_volume_springs(model: LinearModel) -> LinearModel:
    """The same model, each cell of mean dilatation that has a tangent, or is nearly incompressible, a standard one."""
    chosen = np.flatnonzero(model.formulation == fem.FORMULATIONS["mean_dilatation"])
    stiffness = stiffness_of(model, chosen)
    bulk = stiffness[:, :3, :3].sum(axis=(1, 2)) / 9.0
    tough = bulk > TOUGH * stiffness[:, range(3, 6), range(3, 6)].min(axis=1)
    tough |= np.isin(chosen, model.tangent_cells)
    if not tough.any():
        return model
    cells, stiffness, bulk = chosen[tough], stiffness[tough], bulk[tough]
    coupling = stiffness @ _VOLUME @ _SHAPE / 3.0 / bulk[:, None]  # (k, 6): c / K
    coupled = np.abs(coupling).max(axis=1) > _COUPLED
    formulation = model.formulation.copy()
    formulation[cells] = fem.FORMULATIONS["standard"]
    others = ~np.isin(model.tangent_cells, cells)
    return replace(
        model,
        formulation=formulation,
        tangent_cells=np.concatenate([model.tangent_cells[others], cells]),
        tangents=np.concatenate([model.tangents[others], _SHAPE @ stiffness @ _SHAPE]),
        springs=(
            *model.springs,
            *_springs("volume", model, cells, _VOLUME + coupling, bulk),
            *_springs("coupling", model, cells[coupled], coupling[coupled], -bulk[coupled]),
        ),
    )


def _springs(name: str, model: LinearModel, cells: Ids, strain: Array, modulus_mpa: Array) -> list[Spring]:
    """One spring a cell on the mean of a ``strain`` (k, 6), times the edge of a cube of its volume to be a length."""
    mesh = fem.discretise(model.points_mm, model.cells[cells], "mean_dilatation")
    volume = mesh.weight.sum(axis=1)
    weights = np.einsum("mq,mqaj,mij->mai", mesh.weight, mesh.gradient, strain[:, _SIX_OF], optimize=True)
    weights /= volume[:, None, None] ** (2.0 / 3.0)
    stiffness = (modulus_mpa * np.cbrt(volume)).tolist()
    return [
        Spring(f"{name}_{cell + 1}", model.cells[cell], weight, own)
        for cell, weight, own in zip(cells.tolist(), weights, stiffness, strict=True)
    ]
