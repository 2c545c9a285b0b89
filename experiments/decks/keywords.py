"""Which keywords and parameters a deck may have, and where. Everything else is refused by line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from .lexer import Block

MODEL, STEP, ANYWHERE = "before the first *STEP", "between *STEP and *END STEP", "anywhere"
PAGE = "see docs/decks.md for what is supported"


@dataclass(frozen=True)
class Keyword:
    """Where a keyword may stand, which parameters it must have and which it may; None: any, all ignored."""

    where: str
    required: frozenset[str] = frozenset()
    optional: frozenset[str] | None = frozenset()
    meaning: str = ""


def _known(where: str, required: str, optional: str, meaning: str) -> Keyword:
    def names(text: str) -> frozenset[str]:
        return frozenset(name.strip() for name in text.split(",") if name.strip())

    return Keyword(where, names(required), names(optional), meaning)


def _ignored(meaning: str) -> Keyword:
    return Keyword(ANYWHERE, frozenset(), None, meaning)


KEYWORDS: dict[str, Keyword] = {
    "HEADING": _ignored("text, kept in the results"),
    "NODE": _known(MODEL, "", "NSET", "number, x, y, z"),
    "ELEMENT": _known(MODEL, "TYPE", "ELSET", "number, nodes; lines go on after a comma"),
    "NSET": _known(MODEL, "NSET", "GENERATE, ELSET, UNSORTED, INTERNAL", "node numbers and set names; adds up"),
    "ELSET": _known(MODEL, "ELSET", "GENERATE, UNSORTED, INTERNAL", "element numbers and set names; adds up"),
    "SURFACE": _known(MODEL, "NAME", "TYPE, INTERNAL", "of element faces (S1 to S6) or of nodes"),
    "MATERIAL": _known(MODEL, "NAME", "", "the properties that follow are its own"),
    "ELASTIC": _known(MODEL, "", "TYPE", "ISO: E, nu; ENGINEERING CONSTANTS: E1 E2 E3 nu12 nu13 nu23 G12 G13 G23"),
    "PLASTIC": _known(MODEL, "", "HARDENING", "yield stress, plastic strain; ISOTROPIC or KINEMATIC"),
    "HYPERELASTIC": _known(MODEL, "", "NEO HOOKE, MOONEY-RIVLIN", "C10, D1 or C10, C01, D1; D1 > 0"),
    "CREEP": _known(MODEL, "", "LAW", "A, n, m of the rate A s^n t^m (LAW=NORTON or TIME)"),
    "EXPANSION": _known(MODEL, "", "TYPE, ZERO", "coefficient of thermal expansion; ISO or ORTHO"),
    "DENSITY": _known(MODEL, "", "", "ignored: nothing here has inertia or weight"),
    "ORIENTATION": _known(MODEL, "NAME", "SYSTEM, DEFINITION", "rectangular axes by two points"),
    "SOLID SECTION": _known(MODEL, "ELSET, MATERIAL", "ORIENTATION", "material of the elements of a set"),
    "EQUATION": _known(MODEL, "", "", "number of terms; node, dof, coefficient, ..."),
    "RIGID BODY": _known(MODEL, "REF NODE", "NSET, ELSET, ROT NODE", "nodes that move as one"),
    "COUPLING": _known(MODEL, "CONSTRAINT NAME, REF NODE, SURFACE", "", "with *KINEMATIC: nodes that move as one"),
    "KINEMATIC": _known(MODEL, "", "", "dofs 1 to 3, all of them: the nodes of the *COUPLING before it are rigid"),
    "AMPLITUDE": _known(ANYWHERE, "NAME", "TIME, DEFINITION, VALUE", "time, factor, time, factor, ..."),
    "INITIAL CONDITIONS": _known(MODEL, "TYPE", "", "TEMPERATURE: node or set, value"),
    "BOUNDARY": _known(ANYWHERE, "", "OP, AMPLITUDE, TYPE", "node or set, first dof, last dof, value"),
    "STEP": _known(MODEL, "", "INC, NLGEOM, NAME, AMPLITUDE", "begins a step"),
    "STATIC": _known(STEP, "", "DIRECT, SOLVER", "first increment, period, smallest, largest"),
    "VISCO": _known(STEP, "", "DIRECT, SOLVER, CETOL", "the same; time passes, materials creep"),
    "CLOAD": _known(STEP, "", "OP, AMPLITUDE", "node or set, dof, force"),
    "DLOAD": _known(STEP, "", "OP, AMPLITUDE", "element or set, P1 to P6, pressure"),
    "DSLOAD": _known(STEP, "", "OP, AMPLITUDE", "surface, P, pressure"),
    "TEMPERATURE": _known(STEP, "", "OP, AMPLITUDE", "node or set, value"),
    "END STEP": _known(STEP, "", "", "ends a step"),
    **{
        name: _ignored("ignored: every result is written anyway")
        for name in (
            "NODE PRINT",
            "NODE FILE",
            "NODE OUTPUT",
            "EL PRINT",
            "EL FILE",
            "ELEMENT OUTPUT",
            "OUTPUT",
            "FILE FORMAT",
            "PREPRINT",
            "PRINT",
            "MONITOR",
            "RESTART",
        )
    },
}
HINTS = {
    "PART": "write the deck flat, without parts and instances (in Abaqus/CAE: 'Do not use parts and assemblies')",
    "ASSEMBLY": "write the deck flat, without parts and instances",
    "INSTANCE": "write the deck flat, without parts and instances",
    "SHELL SECTION": "only solids are solved: C3D4, C3D8, C3D8I, C3D8R, C3D10, C3D20, C3D20R",
    "BEAM SECTION": "only solids are solved: C3D4, C3D8, C3D8I, C3D8R, C3D10, C3D20, C3D20R",
    "DYNAMIC": "only *STATIC and *VISCO steps are solved",
    "FREQUENCY": "only *STATIC and *VISCO steps are solved",
    "BUCKLE": "only *STATIC and *VISCO steps are solved",
}


def check_keywords(blocks: Sequence[Block]) -> None:
    """Refuse what is unknown, or stands in the wrong place.

    Raises
    ------
    DeckError
        With the line, the keyword and what is allowed.
    """
    step: Block | None = None
    seen = False
    for block in blocks:
        keyword = KEYWORDS.get(block.keyword)
        if keyword is None:
            raise block.error(f"this keyword is not supported; {_advice(block.keyword)}")
        _check_parameters(block, keyword)
        late = step is not None or (seen and block.keyword != "STEP")
        if (keyword.where == STEP and step is None) or (keyword.where == MODEL and late):
            raise block.error(f"it may stand only {keyword.where}")
        if block.keyword == "STEP":
            step, seen = block, True
        elif block.keyword == "END STEP":
            step = None
    if step is not None:
        raise step.error("the step has no *END STEP")
    if not seen:
        raise blocks[-1].error("the deck ends without a *STEP; nothing is asked for")


def _advice(name: str) -> str:
    if name in HINTS:
        return HINTS[name]
    close = difflib.get_close_matches(name, KEYWORDS, n=1, cutoff=0.8)
    return f"did you mean *{close[0]}?" if close else PAGE


def _check_parameters(block: Block, keyword: Keyword) -> None:
    if keyword.optional is None:
        return
    given = set(block.parameters)
    if missing := sorted(keyword.required - given):
        raise block.error(f"the parameter {missing[0]} is missing")
    for name in sorted(keyword.required):
        if not block.parameters[name]:
            raise block.error(f"the parameter {name} needs a value")
    if unknown := sorted(given - keyword.required - keyword.optional):
        allowed = ", ".join(sorted(keyword.required | keyword.optional)) or "none"
        raise block.error(f"the parameter {unknown[0]} is not supported; allowed: {allowed}")


def choice(block: Block, name: str, allowed: Sequence[str], default: str) -> str:
    """The value of a parameter in upper case; DeckError if it is none of ``allowed``."""
    value = " ".join(block.parameters.get(name, default).upper().split())
    if value not in allowed:
        raise block.error(f"{name}={value} is not supported; allowed: {', '.join(allowed)}")
    return value
