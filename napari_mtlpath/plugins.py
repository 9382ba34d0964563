"""A folder of plugins: the file name is the name users type, and listing names imports nothing."""

import difflib
import functools
import importlib
import importlib.util
import inspect
import pkgutil
from importlib.metadata import EntryPoints, entry_points
from typing import Generic, TypeVar

Contract = TypeVar("Contract")


class PluginFolder(Generic[Contract]):
    """Finds the plugins that live as one module each in a package, or in a foreign entry-point group.

    Parameters
    ----------
    package
        Dotted path of the folder, such as ``"napari_mtlpath.slides.readers"``. It is also the name of
        the entry-point group under which other distributions add plugins.
    contract
        The base class that each module subclasses exactly once.
    noun
        What one plugin is called in error messages, such as ``"reader"``.

    Examples
    --------
    >>> from napari_mtlpath.slides.source import Reader
    >>> readers = PluginFolder("napari_mtlpath.slides.readers", contract=Reader, noun="reader")
    >>> "tiffslide" in readers.names()
    True
    """

    def __init__(self, package: str, *, contract: type[Contract], noun: str) -> None:
        self.package = package
        self.contract = contract
        self.noun = noun

    def names(self) -> tuple[str, ...]:
        """Return the sorted names of all plugins without importing any of them."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"Plugin folder {self.package!r} is not a package.")
        own = {module.name for module in pkgutil.iter_modules(spec.submodule_search_locations)}
        foreign = {entry.name for entry in _entry_points(self.package)}
        return tuple(sorted(own | foreign))

    def load(self, name: str) -> type[Contract]:
        """Return the plugin class called `name`, importing only its module.

        Raises
        ------
        ValueError
            If there is no such plugin; the message names the nearest one.
        TypeError
            If the module does not hold exactly one subclass of the contract.
        """
        for entry in _entry_points(self.package):
            if entry.name == name:
                return self._checked(entry.load(), name)
        if name not in self.names():
            nearest = difflib.get_close_matches(name, self.names(), n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"There is no {self.noun} called {name!r}.{hint} Known: {', '.join(self.names())}.")
        module = importlib.import_module(f"{self.package}.{name}")
        found = [
            member
            for _, member in inspect.getmembers(module, inspect.isclass)
            if member.__module__ == module.__name__
            and issubclass(member, self.contract)
            and not member.__name__.startswith("_")
        ]
        if len(found) != 1:
            raise TypeError(f"{module.__name__} must hold exactly one {self.contract.__name__}; found {len(found)}.")
        return found[0]

    def _checked(self, candidate: object, name: str) -> type[Contract]:
        if inspect.isclass(candidate) and issubclass(candidate, self.contract):
            return candidate
        raise TypeError(
            f"The {self.noun} {name!r} of another package must be a subclass of "
            f"{self.contract.__name__}; found {candidate!r}."
        )


@functools.cache  # Looking through all installed distributions takes longer than opening a slide.
def _entry_points(group: str) -> EntryPoints:
    """Return what all distributions offered in a group when this process first asked."""
    return entry_points(group=group)
