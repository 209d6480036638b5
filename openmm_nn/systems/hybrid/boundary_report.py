"""The boundary report: what was cut, what was removed, and what charge is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...tables import Block, Table, as_html, as_text
from .biases import KeptRow
from .bonded import BONDED_RULES, TermCount
from .boundary import CutBond
from .charges import Site
from .region import Region


@dataclass(frozen=True)
class ChargeRow:
    """A charge near the boundary, as the force field has it and as the region sees it.

    Parameters
    ----------
    place : str
        An atom, or a place between two atoms.
    role : str
        ``Q``, ``M``, ``M2`` or ``site``.
    before, after : float
        In e.
    """

    place: str
    role: str
    before: float
    after: float


@dataclass(frozen=True, repr=False)
class BoundaryReport:
    """What happened at the boundary of a hybrid System; printed, it is a set of tables.

    Parameters
    ----------
    region : Region
    cuts : tuple of CutBond
    bonded_rule : str
        The rule in force.
    terms : tuple of TermCount
        For each bonded force that touches the region: terms removed by each rule.
    charge_region, charge_environment : float or None
        Sums of the classical charges in e; None without classical charges.
    charge_scheme : str
    charges : tuple of ChargeRow
        Charges of the boundary atoms before and after the scheme.
    constraints_removed : int
        Constraints between two atoms of the region that were removed.
    charge, multiplicity : int
        What the potential was told.
    kept : tuple of KeptRow
        Biases and restraints on the region that stay, and why.
    """

    region: Region
    cuts: tuple[CutBond, ...]
    bonded_rule: str
    terms: tuple[TermCount, ...]
    charge_region: float | None
    charge_environment: float | None
    charge_scheme: str
    charges: tuple[ChargeRow, ...]
    constraints_removed: int
    charge: int
    multiplicity: int
    kept: tuple[KeptRow, ...] = ()

    def __repr__(self) -> str:
        return f"BoundaryReport({self.region!r}, {len(self.cuts)} cut bonds, {len(self.terms)} bonded forces)"

    def __str__(self) -> str:
        return as_text(self._blocks())

    def _repr_html_(self) -> str:
        return as_html(self._blocks())

    def _blocks(self) -> list[Block]:
        return [
            repr(self.region),
            f"potential: charge {self.charge:+d} e, multiplicity {self.multiplicity}",
            self._cut_table(),
            self._term_table(),
            *self._kept_tables(),
            f"constraints removed: {self.constraints_removed}",
            *self._charge_tables(),
        ]

    def _cut_table(self) -> Block:
        if not self.cuts:
            return "no bond is cut"
        rows = [
            (
                *cut.names,
                f"{cut.kind.kind} ({cut.kind.evidence})",
                "-" if cut.length is None else f"{cut.length:.4f}",
                cut.link.rule,
                f"{cut.distance:.4f}",
                "-" if cut.link.rule == "fixed" else f"{cut.link.value:.4f}",
            )
            for cut in self.cuts
        ]
        return Table(
            "cut bonds", ("in the region (Q)", "outside (M)", "bond", "length/nm", "link", "Q-L/nm", "fraction"), rows
        )

    def _term_table(self) -> Block:
        header = ["force", "touching"]
        for rule in BONDED_RULES:
            mark = "*" if rule == self.bonded_rule else ""
            header += [f"{rule}{mark} removed", "kept"]
        rows = []
        for term in self.terms:
            row = [term.force, str(term.touching)]
            for rule in BONDED_RULES:
                row += [str(term.removed[rule]), str(term.touching - term.removed[rule])]
            rows.append(tuple(row))
        return Table(
            f"bonded terms that touch the region (* the rule in force: {self.bonded_rule})", tuple(header), rows
        )

    def _kept_tables(self) -> list[Block]:
        rows = [(row.what, row.why) for row in self.kept]
        return [Table("biases and restraints that stay", ("what", "why"), rows)] if rows else []

    def _charge_tables(self) -> list[Block]:
        if self.charge_region is None or self.charge_environment is None:
            return ["no classical charges"]
        text = f"classical charge: region {self.charge_region:+.4f} e, environment {self.charge_environment:+.4f} e"
        rows = [(row.place, row.role, f"{row.before:+.4f}", f"{row.after:+.4f}") for row in self.charges]
        if not rows:
            return [text]
        seen = sum(row.after - row.before for row in self.charges)
        title = f"charges at the boundary in e, as the region sees them ({self.charge_scheme}, net change {seen:+.4f})"
        return [text, Table(title, ("place", "role", "before", "after"), rows)]


def charge_rows(
    cuts: tuple[CutBond, ...],
    seconds: dict[int, list[int]],
    sites: dict[int, list[Site]],
    charges: np.ndarray,
    labels: tuple[str, ...],
    scheme: str,
) -> tuple[ChargeRow, ...]:
    """List the boundary's charges before and after a scheme.

    Parameters
    ----------
    cuts : tuple of CutBond
    seconds : dict
        The M2 atoms of each M.
    sites : dict
        The scheme's charges for each M.
    charges : numpy.ndarray, shape (n_particles,), float64, e
    labels : tuple of str
        Names of all atoms.
    scheme : str

    Returns
    -------
    tuple of ChargeRow
        Each atom once, in the order of the cuts.
    """
    before: dict[tuple[str, str], float] = {}
    after: dict[tuple[str, str], float] = {}
    for cut in cuts:
        for role, atom in [("Q", cut.inside), ("M", cut.outside), *(("M2", atom) for atom in seconds[cut.outside])]:
            before.setdefault((labels[atom], role), float(charges[atom]))
            after.setdefault((labels[atom], role), float(charges[atom]))
    if scheme != "none":
        for outside in dict.fromkeys(cut.outside for cut in cuts):
            after[labels[outside], "M"] = 0.0
            for site in sites[outside]:
                key = (labels[site.second], "M2")
                if site.fraction != 1.0:
                    key = (f"{site.fraction:g} of the way from {labels[outside]} to {labels[site.second]}", "site")
                    before.setdefault(key, 0.0)
                after[key] = after.get(key, 0.0) + site.charge
    return tuple(ChargeRow(place, role, value, after[place, role]) for (place, role), value in before.items())
