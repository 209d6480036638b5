"""The potentials of this package for users of OpenMM-ML: ``MLPotential('openmm-nn', model='potential.pt')``.

OpenMM-ML imports this module while it is imported itself, so this one does not import OpenMM-ML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...potentials.loading import load_potential
from ...potentials.potential import Potential

if TYPE_CHECKING:
    from .openmm_ml_potential import NeuralPotentialImpl

__all__ = ["NeuralPotentialFactory"]


class NeuralPotentialFactory:
    """What OpenMM-ML finds by the entry point ``openmm-nn`` in its group ``openmmml.potentials``."""

    def createImpl(self, name: str, model: object = None, **options: object) -> NeuralPotentialImpl:
        """Load a potential.

        Parameters
        ----------
        name : str
            The name in the registry.
        model : str, path, module, callable or Potential
            What `openmm_nn.load_potential` takes.
        options
            None are known.

        Returns
        -------
        NeuralPotentialImpl

        Raises
        ------
        ParameterError
            If there is no model, or another option is given.
        """
        if model is None or options:
            given = ", ".join(sorted(options)) or "no model"
            raise errors.ParameterError(
                f"MLPotential({name!r})",
                f"{given}",
                "the option model, a file or a name that openmm_nn.load_potential takes",
                "give model='potential.pt'",
            )
        from .openmm_ml_potential import NeuralPotentialImpl

        return NeuralPotentialImpl(model if isinstance(model, Potential) else load_potential(model))
