"""``kyphos doctor``: what is installed, whether pictures can be drawn, how fast this machine is."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator

RENDER_LIMIT_S = 60.0

# In a process of its own: without a usable driver the renderer may abort rather than raise.
_RENDER = """
import time
import pyvista
start = time.perf_counter()
plotter = pyvista.Plotter(off_screen=True, window_size=(400, 300))
plotter.add_mesh(pyvista.Sphere(), color="red")
image = plotter.screenshot(None, return_img=True)
plotter.close()
assert image.std() > 1.0, "the picture is empty"
print(time.perf_counter() - start)
"""


def examine() -> Iterator[tuple[str, str]]:
    """Yield pairs (what, finding), the slow ones last."""
    from kyphos.experiments.store import installed_versions

    yield "python", platform.python_version()
    yield from installed_versions().items()
    yield "platform", platform.platform()
    yield "cores", str(os.cpu_count())
    yield "off-screen rendering", render_check()
    yield (
        "sparse factorisation",
        f"{factorisation_s():.2f} s (27,000 unknowns)",
    )


def render_check() -> str:
    """Draw one small picture without a screen; return ``works, 0.4 s`` or why it does not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            capture_output=True,
            text=True,
            timeout=RENDER_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no: no picture within {RENDER_LIMIT_S:.0f} s"
    if done.returncode != 0:
        return f"no: {(done.stderr.strip().splitlines() or ['the renderer aborted'])[-1]}"
    return f"works, {float(done.stdout.split()[-1]):.2f} s for the first picture"


def factorisation_s(size: int = 30) -> float:
    """Return the time to factorise a Laplacian on a cube of ``size``^3 nodes, s: most of what a run does."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import splu

    line = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(size, size))
    one = sp.identity(size)
    cube = sp.kron(sp.kron(line, one), one) + sp.kron(sp.kron(one, line), one) + sp.kron(sp.kron(one, one), line)
    matrix = sp.csc_matrix(cube)
    start = time.perf_counter()
    splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return time.perf_counter() - start
