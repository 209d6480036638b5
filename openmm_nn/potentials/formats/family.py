"""What families of foreign models have in common."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import MissingDependencyError
from .compose import is_installed

__all__ = ["Family"]


class Family:
    """A family without names whose library can be had from one extra; a subclass adds `accepts` and `load`.

    The protocol that it follows is `openmm_nn.potentials.formats.Format`. Its attributes are the family's name, which
    is the extra's too; the package of its library that Python imports, empty if files need none; and what that library
    is called.
    """

    name: str
    package: str = ""
    library: str = ""

    @property
    def install(self) -> str:
        """The command that installs the library."""
        return f"pip install 'openmm-nn[{self.name}]'"

    def names(self) -> Mapping[str, str]:
        """Return no names: models are files, or objects."""
        return {}

    def missing(self) -> str:
        """Return what is missing, with the command that installs it; an empty string if nothing is."""
        if self.package and not is_installed(self.package):
            return f"{self.library} is not installed; install it with: {self.install}"
        return ""

    def require(self, what: str, got: str = "") -> None:
        """Raise an error if the library is missing.

        Parameters
        ----------
        what
            What needs it, such as ``"potential 'sevennet/7net-0'"``.
        got
            What that is, if the message should say it.

        Raises
        ------
        MissingDependencyError
            With the command that installs the library.
        """
        missing = self.missing()
        if missing:
            value = f"{got}, and {missing}" if got else missing
            raise MissingDependencyError(what, value, self.library, self.install)
