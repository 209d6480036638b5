"""Geometries away from equilibrium, made by RDKit and an MMFF94 force field (UFF where it has no parameters).

The sampling only has to be broad and cheap; every geometry is labelled by GFN2-xTB afterwards.  Kinds:

``relax``    frames on the way to a GFN2-xTB minimum
``minimum``  the minimum
``modes``    random displacements with the covariance kT/H at a minimum, 100-1000 K
``langevin`` Langevin dynamics with the force field, 300-1200 K
``torsion``  constrained torsions, relaxed with the force field, slightly shaken
``stretch``  one bond or one intermolecular distance compressed or stretched
``contact``  in a cluster, one atom pushed against an atom of another fragment, far inside contact or short of it

`scans.py` has more: ``scan``, ``backbone``, ``stack`` and ``descent``; `scatter.py` has ``scatter`` and ``hole``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem
from rdkit.Chem.rdMolTransforms import SetDihedralDeg

BOLTZMANN = 0.0019872043  # kcal/mol/K
#: (kcal/mol/Angstrom)/(g/mol) in Angstrom/fs^2
ACCELERATION = 4.184e-4
MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}
Positions = NDArray[np.float64]


def embed(smiles: str, count: int, seed: int) -> Chem.Mol | None:
    """Make an RDKit molecule with hydrogens and up to `count` conformers, relaxed by the force field."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if "." in smiles:
        return _embed_cluster(smiles, molecule, count, seed)
    identifiers = list(AllChem.EmbedMultipleConfs(molecule, 3 * count, randomSeed=seed % 2**31, pruneRmsThresh=0.3))
    if not identifiers:
        identifiers = list(AllChem.EmbedMultipleConfs(molecule, count, randomSeed=seed % 2**31, useRandomCoords=True))
    if not identifiers:
        return None
    AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=500)
    for identifier in identifiers[count:]:
        molecule.RemoveConformer(identifier)
    return molecule


def _embed_cluster(smiles: str, molecule: Chem.Mol, count: int, seed: int) -> Chem.Mol | None:
    rng = np.random.default_rng(seed)
    parts = Chem.GetMolFrags(molecule)
    for _ in range(count):
        placed = np.zeros((molecule.GetNumAtoms(), 3))
        done: list[int] = []
        fragments = Chem.GetMolFrags(molecule, asMols=True)
        for atoms, fragment in zip(parts, fragments, strict=True):
            if AllChem.EmbedMolecule(fragment, randomSeed=int(rng.integers(2**31))) != 0:
                return None
            own = fragment.GetConformer().GetPositions()
            own = (own - own.mean(0)) @ random_rotation(rng).T
            direction = rng.normal(size=3)
            direction /= np.linalg.norm(direction)
            distance = 0.0
            while done and np.linalg.norm(own[:, None] + distance * direction - placed[done], axis=-1).min() < 2.2:
                distance += 0.1
            placed[list(atoms)] = own + distance * direction
            done += list(atoms)
        conformer = Chem.Conformer(molecule.GetNumAtoms())
        conformer.SetPositions(placed)
        molecule.AddConformer(conformer, assignId=True)
    for conformer in molecule.GetConformers():
        ff = force_field(molecule, conformer.GetId())
        if ff is not None:
            ff.Minimize(maxIts=300)
    return molecule


def random_rotation(rng: np.random.Generator) -> Positions:
    """Draw a random proper rotation, uniform on SO(3)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def force_field(molecule: Chem.Mol, conformer: int = -1):
    """MMFF94, or UFF where MMFF94 lacks parameters; intermolecular terms included."""
    properties = AllChem.MMFFGetMoleculeProperties(molecule)
    if properties is not None:
        return AllChem.MMFFGetMoleculeForceField(
            molecule, properties, confId=conformer, ignoreInterfragInteractions=False
        )
    return AllChem.UFFGetMoleculeForceField(molecule, confId=conformer, ignoreInterfragInteractions=False)


def gradient_function(molecule: Chem.Mol) -> Callable[[Positions], Positions]:
    """Gradient of the force field, kcal/mol/Angstrom, as a function of positions in Angstrom."""
    ff = force_field(molecule, molecule.GetConformers()[0].GetId())

    def gradient(positions: Positions) -> Positions:
        flat = positions.ravel().tolist()
        ff.CalcEnergy(flat)  # forgets the distances of the call before, which CalcGrad alone would use again
        return np.array(ff.CalcGrad(flat)).reshape(-1, 3)

    return gradient


def langevin(
    molecule: Chem.Mol, start: Positions, temperature: float, samples: int, rng: np.random.Generator
) -> list[Positions]:
    """Frames of BAOAB Langevin dynamics with the force field, 100 steps apart, from `start`."""
    gradient = gradient_function(molecule)
    masses = np.array([MASSES[a.GetAtomicNum()] for a in molecule.GetAtoms()])[:, None]
    step, friction = (1.0, 0.02) if temperature < 700 else (0.7, 0.02)
    decay = np.exp(-friction * step)
    thermal = np.sqrt(BOLTZMANN * temperature * ACCELERATION / masses)
    x = start.copy()
    v = rng.normal(size=x.shape) * thermal
    f = -gradient(x)
    frames = []
    for index in range(1, 100 * (samples + 1) + 1):
        v += 0.5 * step * ACCELERATION * f / masses
        x += 0.5 * step * v
        v = decay * v + np.sqrt(1 - decay**2) * thermal * rng.normal(size=x.shape)
        x += 0.5 * step * v
        f = -gradient(x)
        v += 0.5 * step * ACCELERATION * f / masses
        if not np.isfinite(x).all():
            break
        if index % 100 == 0 and index > 100:
            frames.append(x.copy())
    return frames


def normal_modes(molecule: Chem.Mol, minimum: Positions, samples: int, rng: np.random.Generator) -> list[Positions]:
    """Displacements drawn from N(0, kT/H), H of the force field at the GFN2-xTB minimum, T uniform in 100-1000 K.

    Eigenvalues are taken in absolute value and not below 30 kcal/mol/Angstrom^2, so that soft modes, which are not
    straight lines, are not followed too far.  Translations and rotations are left out.
    """
    gradient = gradient_function(molecule)
    n = minimum.size
    hessian = np.zeros((n, n))
    for i in range(n):
        shift = np.zeros(n)
        shift[i] = 1e-3
        shift = shift.reshape(-1, 3)
        hessian[i] = ((gradient(minimum + shift) - gradient(minimum - shift)) / 2e-3).ravel()
    hessian = 0.5 * (hessian + hessian.T)
    centred = minimum - minimum.mean(0)
    rigid = [np.tile(axis, (len(minimum), 1)).ravel() for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    basis, weights, _ = np.linalg.svd(np.array(rigid).T, full_matrices=False)
    basis = basis[:, weights > 1e-6]
    project = np.eye(n) - basis @ basis.T
    values, vectors = np.linalg.eigh(project @ hessian @ project)
    stiffness = np.clip(np.abs(values), 30.0, None)
    frames = []
    for _ in range(samples):
        temperature = rng.uniform(100, 1000)
        amplitude = rng.normal(size=n) * np.sqrt(BOLTZMANN * temperature / stiffness)
        frames.append(minimum + (project @ (vectors @ amplitude)).reshape(-1, 3))
    return frames


def rotatable(molecule: Chem.Mol) -> list[tuple[int, int, int, int]]:
    """One (i, j, k, l) for every acyclic single bond with something to turn on both sides (methyl groups too)."""
    found = []
    for bond in molecule.GetBonds():
        if bond.IsInRing() or bond.GetBondType() != Chem.BondType.SINGLE:
            continue
        j, k = bond.GetBeginAtom(), bond.GetEndAtom()
        left = [a.GetIdx() for a in j.GetNeighbors() if a.GetIdx() != k.GetIdx()]
        right = [a.GetIdx() for a in k.GetNeighbors() if a.GetIdx() != j.GetIdx()]
        if left and right:
            found.append((left[0], j.GetIdx(), k.GetIdx(), right[0]))
    return found


def torsions(molecule: Chem.Mol, samples: int, rng: np.random.Generator) -> list[Positions]:
    """Random values of one or two torsions at a time, the rest relaxed by the force field, then shaken by 0.03 A."""
    choices = rotatable(molecule)
    heavy = [t for t in choices if all(molecule.GetAtomWithIdx(i).GetDegree() > 1 for i in (t[1], t[2]))]
    properties = AllChem.MMFFGetMoleculeProperties(molecule)
    if not choices or properties is None:
        return []
    names = [c.GetId() for c in molecule.GetConformers()]
    frames = []
    for _ in range(samples):
        copy = Chem.Mol(molecule, False, int(rng.choice(names)))
        pool = heavy or choices
        picked = rng.choice(len(pool), size=min(len(pool), int(rng.integers(1, 3))), replace=False)
        conformer = copy.GetConformer()
        targets = [(pool[p], float(rng.uniform(-180, 180))) for p in picked]
        for (i, j, k, m), angle in targets:
            SetDihedralDeg(conformer, i, j, k, m, angle)
        ff = AllChem.MMFFGetMoleculeForceField(copy, properties, confId=conformer.GetId())
        for (i, j, k, m), angle in targets:
            ff.MMFFAddTorsionConstraint(i, j, k, m, False, angle - 2, angle + 2, 50.0)
        ff.Minimize(maxIts=150)
        positions = copy.GetConformer().GetPositions()
        frames.append(positions + rng.normal(size=positions.shape) * 0.03)
    return frames


def stretches(molecule: Chem.Mol, minimum: Positions, samples: int, rng: np.random.Generator) -> list[Positions]:
    """One acyclic bond scaled by 0.75-1.5; in a cluster, mostly one fragment moved from contact outwards."""
    bonds = [b for b in molecule.GetBonds() if not b.IsInRing()]
    fragments = Chem.GetMolFrags(molecule)
    frames = []
    for _ in range(samples):
        x = minimum + rng.normal(size=minimum.shape) * 0.03
        if len(fragments) > 1 and rng.random() < 0.8:
            moved = list(fragments[int(rng.integers(len(fragments)))])
            rest = [i for i in range(len(x)) if i not in moved]
            direction = x[moved].mean(0) - x[rest].mean(0)
            direction /= np.linalg.norm(direction)
            pivot = x[moved].mean(0)
            if rng.random() < 0.5:
                x[moved] = (x[moved] - pivot) @ random_rotation(rng).T + pivot
            target = rng.uniform(1.5, 5.5) if rng.random() < 0.75 else rng.uniform(1.1, 1.8)
            x[moved] += 12.0 * direction
            for _ in range(400):
                if np.linalg.norm(x[moved][:, None] - x[rest], axis=-1).min() <= target:
                    break
                x[moved] -= 0.05 * direction
            else:
                continue
        elif bonds:
            bond = bonds[int(rng.integers(len(bonds)))]
            j, k = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            side = side_of(molecule, j, k)
            x[side] += (rng.uniform(0.75, 1.5) - 1.0) * (x[k] - x[j])
        frames.append(x)
    return frames


def contacts(molecule: Chem.Mol, minimum: Positions, samples: int, rng: np.random.Generator) -> list[Positions]:
    """Two fragments of a cluster with a chosen pair of atoms closest, half of them inside contact: the repulsive wall.

    The other fragments stay where they are, unless they are in the way: then they are moved off by 30 Angstrom.
    """
    fragments = [list(f) for f in Chem.GetMolFrags(molecule)]
    numbers = np.array([a.GetAtomicNum() for a in molecule.GetAtoms()])
    reach = np.where(numbers == 1, 1.2, 1.6)
    frames = []
    for _ in range(samples):
        first, second = rng.choice(len(fragments), 2, replace=False)
        still, moved = fragments[int(first)], fragments[int(second)]
        a, b = int(rng.choice(still)), int(rng.choice(moved))
        contact = reach[a] + reach[b]
        distance = contact * rng.uniform(0.3, 1.0) if rng.random() < 0.6 else rng.uniform(contact, 5.0)
        best, gap = None, -np.inf
        for _ in range(20):
            x = minimum + rng.normal(size=minimum.shape) * 0.02
            turned = (x[moved] - x[b]) @ random_rotation(rng).T
            direction = rng.normal(size=3)
            x[moved] = turned + x[a] + distance * direction / np.linalg.norm(direction)
            between = np.linalg.norm(x[still][:, None] - x[moved], axis=-1)
            between[still.index(a), moved.index(b)] = np.inf
            if between.min() > gap:
                best, gap = x, between.min()
            if gap > distance + 0.3:
                break
        if best is None:
            continue
        pair = best[still + moved]
        for other in fragments:
            if other not in (still, moved) and np.linalg.norm(best[other][:, None] - pair, axis=-1).min() < 1.6:
                best[other] += 30.0 * (1 + fragments.index(other))
        frames.append(best)
    return frames


def side_of(molecule: Chem.Mol, j: int, k: int) -> list[int]:
    side, queue = {k}, [k]
    while queue:
        for atom in molecule.GetAtomWithIdx(queue.pop()).GetNeighbors():
            if atom.GetIdx() not in side and atom.GetIdx() != j:
                side.add(atom.GetIdx())
                queue.append(atom.GetIdx())
    return sorted(side)
