"""Which sections of the panel were open, kept between sessions in a small file of our own."""

import json
import logging
import threading
from pathlib import Path

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import data_folder

logger = logging.getLogger(__name__)

PANEL_FILE = "panel.json"
LARGEST_FILE = 65536
"""Bytes; a larger file was not written by us."""


class PanelPreferences:
    """Reads and writes which sections are open. Both touch the disk: not for the GUI thread.

    Parameters
    ----------
    path
        The file; ``panel.json`` in the user's data folder by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self) -> dict[str, bool]:
        """Return whether each section was open, by name; empty where nothing readable was kept."""
        path = self._where()
        try:
            if path.stat().st_size > LARGEST_FILE:
                return {}
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("The panel's preferences are left out: %s", error)
            return {}
        sections = kept.get("open") if isinstance(kept, dict) else None
        if not isinstance(sections, dict):
            return {}
        return {name: state for name, state in sections.items() if isinstance(state, bool)}

    def write(self, sections: dict[str, bool]) -> None:
        """Keep whether each section is open."""
        with self._lock, replacing(self._where()) as temporary:
            temporary.write_text(json.dumps({"open": sections}, indent=1), encoding="utf-8")

    def _where(self) -> Path:
        return self._path if self._path is not None else data_folder() / PANEL_FILE
