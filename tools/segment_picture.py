"""Draw docs/pictures/segment.png: three segments cut in half, coloured by region, with ligaments and facets.

`python tools/segment_picture.py` needs no screen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvista as pv

from kyphos import meshes

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "segment.png"
COLOURS = {
    "trabecular": "#efe3c4",
    "shell": "#c49a5c",
    "endplate": "#8c6d3f",
    "nucleus": "#6fcbe3",
    "cartilage": "#2f8f6b",
    "pot": "#d0d0d0",
    "annulus": "#b5475e",
}


def main() -> None:
    """Draw the default segment and one of each real spine."""
    human, verse = meshes.specimen("visible-human"), meshes.specimen("verse004")
    panels = {
        "T12-L2, mean woman": meshes.segment_mesh(),
        "L1-L3, Visible Human": meshes.specimen_mesh(human, ("L1", "L2", "L3"), 2.5),
        "L2-L4, VerSe 004": meshes.specimen_mesh(verse, ("L2", "L3", "L4"), 2.5),
    }
    plotter = pv.Plotter(off_screen=True, shape=(1, 3), window_size=(1350, 580), border=False)
    for column, (title, mesh) in enumerate(panels.items()):
        plotter.subplot(0, column)
        draw(plotter, mesh)
        plotter.add_text(title, position="lower_left", font_size=11, color="black")
    plotter.screenshot(OUT)
    plotter.close()


def draw(plotter: pv.Plotter, mesh: meshes.SegmentMesh) -> None:
    """Left half of a segment, seen from the right; anterior is to the right."""
    grid = pv.UnstructuredGrid({pv.CellType.HEXAHEDRON: mesh.cells}, mesh.points_mm)
    left = meshes.cell_centroids_mm(mesh.points_mm, mesh.cells)[:, 0] < 0.0
    for number, name in enumerate(mesh.region_names):
        cells = np.flatnonzero((mesh.region == number) & left)
        colour = next(value for key, value in COLOURS.items() if key in name)
        layer = int(name.rsplit("_", 1)[1]) if "annulus" in name else 0
        shade = pv.Color(colour).float_rgb if not layer else np.array(pv.Color(colour).float_rgb) ** (1.0 / layer**0.5)
        plotter.add_mesh(grid.extract_cells(cells), color=shade, show_edges=True, edge_color="#555555", ambient=0.45)
    for link in mesh.links:
        if link.normal is not None:
            disc = pv.Disc(center=link.lower_mm, inner=0.0, outer=6.0, normal=link.normal, c_res=24)
            plotter.add_mesh(disc, color="#f0a030", opacity=0.8)
        else:
            plotter.add_mesh(pv.Line(link.upper_mm, link.lower_mm), color="#2040c0", line_width=4)
    plotter.camera_position = [(260.0, 60.0, 50.0), (0.0, -12.0, 0.0), (0.0, 0.0, 1.0)]
    plotter.enable_parallel_projection()
    plotter.reset_camera()
    plotter.camera.zoom(1.45)


if __name__ == "__main__":
    main()
