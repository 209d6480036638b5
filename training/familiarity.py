"""How the deviation of the bundled committee separates molecules that it knows from those that it does not.

    python -m training.familiarity

Structures are made by RDKit (MMFF94, else as embedded); the error is that of the force on the worst atom against
GFN2-xTB, the method that the potential imitates, with the charge and the spin that the molecule has.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

import openmm_nn
from openmm_nn.potentials.bundled import BUNDLED_FOLDER
from openmm_nn.potentials.familiarity import SIGMA_LIMITS
from training.label import BOHR, HARTREE, METHOD
from training.molecules import molecule_set

RDLogger.DisableLog("rdApp.*")
NAME = "openmm-nn/hcno-1"
KJ_PER_EV_NM = 964.8533212331  # kJ/mol/nm in 1 eV/Angstrom
# ruff: noqa: E501 (SMILES and rows read better in long lines)
#: Neutral closed-shell molecules of H, C, N and O that are everyday or odd.
EVERYDAY = """
O=C=O [C-]#[O+] N#N [H][H] O=O [O-][O+]=O N#[N+][O-] C#C c1nnn[nH]1 c1nn[nH]n1 C1CO1 C#N O=C=C OO N=[N+]=[N-] C=C=C N=C=O C1=CC1
OC#N O=NO O[N+](=O)[O-] C12C3C4C1C5C2C3C45 C1CC2CC12 O=C=C=C=O C=C=C=C [O-][N+]#C
"""
#: Ions, radicals and zwitterions, which have the energy of something else in a network without charge and spin.
CHARGED = """
CC(=O)[O-] [O-]C=O C[NH3+] [NH4+] C[N+](C)(C)C NC(=[NH2+])N c1c[nH]c[nH+]1 c1ccccc1[O-] [O-][N+](=O)[O-] [OH3+] [OH-] C[O-]
[C-]#N [N-]=[N+]=[N-] O=C([O-])O O=C([O-])[O-] [O-]C(=O)C(=O)[O-] c1cc[nH+]cc1 C[n+]1ccccc1 CC[NH+](CC)CC [CH3] [OH] C[CH2] C[O]
[NH3+]CC(=O)[O-] C[N+](C)(C)CC(=O)[O-] CC(=O)N[C@@H](CC(=O)[O-])C(=O)NC CC(=O)N[C@@H](CCC(=O)[O-])C(=O)NC
CC(=O)N[C@@H](CCCC[NH3+])C(=O)NC CC(=O)N[C@@H](CCCNC(N)=[NH2+])C(=O)NC CC(=O)N[C@@H](Cc1c[nH]c[nH+]1)C(=O)NC
"""
#: Molecules like those of the training set that are not in it.
LIKE = """
Cc1ccccc1C(C)C CC(=O)OC1=CC=CC=C1C(=O)OC CN1CCC[C@H]1C2=CN=CC=C2 OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O CCCCCCCCCCCCCCCC
OC1CCCCCCCCC1 CCCCCCCCCCC(=O)OC COc1ccc2cc(ccc2c1)C(C)C(=O)O O=C1c2ccccc2C(=O)c2ccccc12 c1ccc2c(c1)ccc1ccccc12
CC(=O)N1CCN(CC1)c1ccc(OC)cc1 CC12CCC(CC1)CC2=O C[C@]12CC[C@H]3[C@H]([C@@H]1CC[C@@H]2O)CCC4=CC(=O)CC[C@]34C
CN1C2CCC1CC(C2)OC(=O)C(CO)c1ccccc1 COc1cc2c(cc1OC)CCN(C)C2 NC(=O)N1c2ccccc2C=Cc2ccccc12 CN1c2ccccc2C(=NCC1=O)c1ccccc1
CC(C)(C)c1ccc(O)cc1C OC(=O)CCCCC1CCCN1 c1ccc(cc1)C(c1ccccc1)c1ccccc1 CN(C)C(=N)NC(=N)N c1cc2ccc3cccc4ccc(c1)c2c34
CC(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)N[C@@H](C)C(=O)NC CC(C)C[C@H](NC(C)=O)C(=O)N[C@@H](CO)C(=O)NC
"""


def embedded(smiles: str, relax: bool = True) -> tuple[NDArray, NDArray, int, int] | None:
    """Atomic numbers, positions (n, 3) in Angstrom, charge and unpaired electrons; None where RDKit finds none."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=7) != 0:
        return None
    if relax and AllChem.MMFFHasAllMoleculeParams(molecule):
        AllChem.MMFFOptimizeMolecule(molecule)
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    return numbers, molecule.GetConformer().GetPositions(), Chem.GetFormalCharge(molecule), unpaired


def forces_of_reference(numbers: NDArray, positions: NDArray, charge: int, unpaired: int) -> NDArray | None:
    """Forces of GFN2-xTB in kJ/mol/nm; None where it does not converge."""
    from tblite.interface import Calculator

    try:
        calculator = Calculator(METHOD, numbers, positions / BOHR, charge=charge, uhf=unpaired)
        calculator.set("verbosity", 0)
        gradient = calculator.singlepoint().get("gradient")
    except RuntimeError:
        return None
    return -np.asarray(gradient) * (HARTREE / BOHR) * KJ_PER_EV_NM


def measured(potential: openmm_nn.Potential, smiles: Iterable[str], relax: bool = True) -> Iterator[tuple]:
    """Every SMILES with its largest sigma_F and largest error of a force, kJ/mol/nm."""
    for name in smiles:
        made = embedded(name, relax)
        if made is None:
            continue
        found = potential.evaluate(0.1 * made[1], made[0])
        truth = forces_of_reference(*made)
        error = np.nan if truth is None else float(np.linalg.norm(found.forces - truth, axis=1).max())
        yield name, float(found.forces_std.max()), error


def frames(potential: openmm_nn.Potential, kind: str, split: str) -> Iterator[tuple]:
    """The same of labels of one kind that the package ships."""
    data = np.load(BUNDLED_FOLDER / "labels_sample.npz")
    first, names = data["first"], [str(name) for name in data["kind_names"]]
    for k in np.flatnonzero(data["kinds"] == names.index(kind)):
        molecule = int(data["molecule"][k])
        if str(data["splits"][molecule]) != split:
            continue
        inside = slice(first[k], first[k + 1])
        found = potential.evaluate(0.1 * data["positions"][inside].astype(float), data["numbers"][inside].astype(int))
        error = np.linalg.norm(found.forces - KJ_PER_EV_NM * data["forces"][inside], axis=1).max()
        yield str(data["smiles"][molecule]), float(found.forces_std.max()), float(error)


def row(title: str, rows: list[tuple], limit: float) -> str:
    """A row of the table."""
    sigma, error = (np.array([entry[k] for entry in rows], dtype=float) for k in (1, 2))
    over = sigma > limit
    cells = [f"{len(rows)}", *(f"{np.quantile(sigma, q):.0f}" for q in (0.5, 0.9, 0.98)), f"{over.sum()} ({over.mean():.1%})"]
    cells += [f"{np.nanmedian(error[part]):.0f}" if part.any() else "-" for part in (~over, over)]
    return f"| {title} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table for docs/measured.md, and every everyday or charged molecule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", action="store_true", help="list every everyday, charged and similar molecule")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    potential, limit = openmm_nn.load_potential(NAME), SIGMA_LIMITS[NAME]
    single = [molecule for molecule in molecule_set() if "." not in molecule.smiles]
    names = {split: [m.smiles for m in single if m.split == split] for split in ("train", "test")}
    sets = {
        "training molecules, MMFF94 structures": list(measured(potential, names["train"])),
        "training molecules, as embedded by RDKit": list(measured(potential, names["train"], relax=False)),
        "unseen test molecules, MMFF94 structures": list(measured(potential, names["test"])),
        "training molecules and clusters, Langevin dynamics at 300 to 1200 K": list(frames(potential, "langevin", "train")),
        "like them, not in the set": list(measured(potential, LIKE.split())),
        "everyday and odd molecules": list(measured(potential, EVERYDAY.split())),
        "ions, radicals, zwitterions": list(measured(potential, CHARGED.split())),
    }
    print("| structures | number | σ median | 90 % | 98 % | over the limit | error below it | error above it |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for title, rows in sets.items():
        print(row(title, rows, limit))
    for title, rows in sets.items() if arguments.molecules else ():
        if title.startswith(("like", "everyday", "ions")):
            print(f"\n{title}:")
            for name, sigma, error in sorted(rows, key=lambda entry: -entry[1]):
                print(f"  {name:50s} sigma {sigma:7.0f}  error {error:7.0f}")


if __name__ == "__main__":
    main()
