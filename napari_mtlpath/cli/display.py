"""Whether windows can be shown here, and how to show them where they cannot: Xvfb, a display in memory."""

import os
import shutil
import sys

SCREEN = "1600x1000x24"


def has_display() -> bool:
    """Whether this process can show windows."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def under_xvfb(command: list[str]) -> list[str]:
    """Return a command that runs `command` under a virtual display.

    Raises
    ------
    RuntimeError
        If Xvfb is not installed.
    """
    if shutil.which("xvfb-run") is None or shutil.which("xauth") is None:
        raise RuntimeError(
            "There is no display (DISPLAY and WAYLAND_DISPLAY are empty) and no virtual one. "
            "Install it (Debian: apt-get install xvfb xauth) or run this on a desktop."
        )
    return ["xvfb-run", "--auto-servernum", f"--server-args=-screen 0 {SCREEN}", *command]


def require_display() -> None:
    """Raise RuntimeError with one sentence where no window can be shown."""
    if not has_display():
        raise RuntimeError(
            "There is no display (DISPLAY and WAYLAND_DISPLAY are empty). Run this on a desktop, or try "
            "`mtlpath predict`, which needs none."
        )
