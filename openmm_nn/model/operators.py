"""Operators that a model calls and that torch does not have: which library brings them."""

from __future__ import annotations

import re

from ..errors import ModelError

__all__ = ["missing_operator"]

# As torch says it, of TorchScript and of compiled packages.
_NAMED = re.compile(r"(?:Unknown builtin op:|[Cc]ould ?n[o']t find (?:schema|an operator) for)\s+([A-Za-z_]\w*)::(\w+)")
_TORCH = {"aten", "prim", "prims", "quantized", "inductor", "c10d", "onednn", "mkldnn", "profiler"}
_LIBRARIES = {
    "torch_cluster": "torch_cluster",
    "torch_scatter": "torch_scatter",
    "torch_sparse": "torch_sparse",
    "torchvision": "torchvision",
    "cuaev": "torchani",
    "mnp": "torchani",
    "NNPOpsANISymmetryFunctions": "NNPOps",
    "NNPOpsCFConv": "NNPOps",
    "pytorch_neighbors": "NNPOps",
    "neighbors": "NNPOps",
    "torchmdnet_extensions": "torchmdnet",
    "deepmd": "deepmd",
    "metatensor": "metatensor.torch",
    "metatomic": "metatomic.torch",
    "libtorch_tp_jit": "openequivariance",
    "cuequivariance": "cuequivariance_torch",
}


def missing_operator(reason: str, name: str) -> ModelError | None:
    """Find in what torch said the operator that it lacks, and say how to bring it.

    Parameters
    ----------
    reason
        What torch said when it read a model.
    name
        Of the file.

    Returns
    -------
    ModelError or None
        None if torch names no operator of another library: its own come with a newer torch.

    Examples
    --------
    >>> from openmm_nn.model.operators import missing_operator
    >>> missing_operator("Unknown builtin op: torch_cluster::radius_graph.", "m.pt").remedy.split(",")[0]
    'import torch_cluster before the potential is loaded'
    """
    found = _NAMED.search(reason)
    if found is None or found[1] in _TORCH:
        return None
    library = _LIBRARIES.get(found[1])
    brings = library or f"the library that registers the operators of {found[1]!r}"
    module = library or "THAT_LIBRARY"
    return ModelError(
        f"file {name}",
        f"a model that calls the operator {found[1]}::{found[2]}, which torch does not have",
        "torch's own operators, and those of libraries that this process has imported",
        f"import {brings} before the potential is loaded, in every process that runs it; for the command line: "
        f'python -c "import {module}; from openmm_nn.cli import main; main()" run RUN.yaml; or export the model '
        "without that operator",
    )
