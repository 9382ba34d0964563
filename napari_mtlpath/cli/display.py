"""Whether windows can be shown here, and how to show them where they cannot: Xvfb, a display in memory."""

import os
import shutil
import sys
from pathlib import Path

SCREEN = "1600x1000x24"


def has_display() -> bool:
    """Whether this process can show windows; a display that is named but gone, as after a lost session, is none."""
    if sys.platform != "linux":
        return True
    return _x11_answers(os.environ.get("DISPLAY", "")) or _wayland_answers(os.environ.get("WAYLAND_DISPLAY", ""))


def under_xvfb(command: list[str]) -> list[str]:
    """Return a command that runs `command` under a virtual display.

    Raises
    ------
    RuntimeError
        If Xvfb is not installed.
    """
    if shutil.which("xvfb-run") is None or shutil.which("xauth") is None:
        raise RuntimeError(
            "There is no display (DISPLAY and WAYLAND_DISPLAY name none) and no virtual one. "
            "Install it (Debian: apt-get install xvfb xauth) or run this on a desktop."
        )
    return ["xvfb-run", "--auto-servernum", f"--server-args=-screen 0 {SCREEN}", *command]


def _x11_answers(display: str) -> bool:
    if not display.startswith(":"):
        return bool(display)  # another machine's: only trying tells
    socket = f"/tmp/.X11-unix/X{display[1:].split('.')[0]}"
    if Path(socket).exists():
        return True
    try:
        return f"@{socket}" in Path("/proc/net/unix").read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False


def _wayland_answers(display: str) -> bool:
    return bool(display) and (Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / display).exists()


def require_display() -> None:
    """Raise RuntimeError with one sentence where no window can be shown."""
    if not has_display():
        raise RuntimeError(
            "There is no display (DISPLAY and WAYLAND_DISPLAY name none). Run this on a desktop, or try "
            "`mtlpath predict`, which needs none."
        )
