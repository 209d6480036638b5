"""``python -m openmm_nn.cli`` is ``openmm-nn``."""

from . import main

if __name__ == "__main__":
    main()
