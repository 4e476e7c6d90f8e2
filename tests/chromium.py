"""Where a Chromium is on this machine; `python -m tests.chromium` prints it, or fails.

Invariant: what scripts/test.sh looks for is what the browser tests use.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def find_chromium() -> Path | None:
    """Returns CHROMIUM of the environment, an installed Chromium or Chrome, or Playwright's own."""
    named = os.environ.get("CHROMIUM")
    candidates = [Path(named)] if named else []
    candidates += [Path(found) for command in COMMANDS if (found := shutil.which(command))]
    candidates += APPLICATIONS
    for candidate in candidates:
        if candidate.exists():
            return candidate
    return _find_playwright_chromium()


def _find_playwright_chromium() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


if __name__ == "__main__":
    chromium = find_chromium()
    if chromium is None:
        sys.exit("No Chromium and no Chrome was found.")
    sys.stdout.write(f"{chromium}\n")
