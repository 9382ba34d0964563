"""What a session holds for its slides: tiles in memory, features, answers and typed resolutions on disk."""

import threading
from typing import TYPE_CHECKING

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.resolution import ResolutionMemory

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.pixels.shelf import MapsShelf
    from napari_mtlpath.slides.slide import Slide


class Holdings:
    """Cache, store and memory, each made when first needed, because making the last two reads files.

    Parameters
    ----------
    cache, store, memory
        What to use; None for a new one in the user's folders.
    """

    def __init__(
        self,
        *,
        cache: TileCache | None = None,
        store: "FeatureStore | None" = None,
        memory: ResolutionMemory | None = None,
    ) -> None:
        self.cache = cache if cache is not None else TileCache()
        self._lock = threading.Lock()
        self._store = store
        self._memory = memory
        self._shelf: MapsShelf | None = None

    @property
    def shelf(self) -> "MapsShelf":
        """Answers pixel by pixel of slides and models that were left."""
        with self._lock:
            if self._shelf is None:
                from napari_mtlpath.inference.pixels.shelf import MapsShelf

                self._shelf = MapsShelf()
            return self._shelf

    @property
    def store(self) -> "FeatureStore":
        """Features on disk."""
        with self._lock:
            if self._store is None:
                from napari_mtlpath.features.store import FeatureStore

                self._store = FeatureStore(None)
            return self._store

    @property
    def memory(self) -> ResolutionMemory:
        """Resolutions that users typed."""
        with self._lock:
            if self._memory is None:
                self._memory = ResolutionMemory()
            return self._memory

    def release_slide(self, slide: "Slide", *, keep_tiles: bool, keep_answers: bool = False) -> None:
        """Close a slide and, unless another slide shares them, free its tiles; answers stay if wished."""
        slide.close()
        if not keep_answers and self._shelf is not None:
            self._shelf.drop(slide.fingerprint)
        if not keep_tiles:
            self.cache.drop(slide.fingerprint)

    def close(self, slide: "Slide | None") -> None:
        """Release the last slide and close the store, if it was ever opened."""
        if slide is not None:
            self.release_slide(slide, keep_tiles=False)
        if self._shelf is not None:
            self._shelf.close()
        with self._lock:
            if self._store is not None:
                self._store.close()
