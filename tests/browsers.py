"""A headless Chromium that the tests look through, and a JupyterLab whose menus they use as a reader would."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Rules of axe-core: those of WCAG 2.1 A and AA, and what its makers recommend. Tables of pandas have an empty corner.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}
RULES |= {"rules": {"empty-table-header": {"enabled": False}}}
TOKEN = "of-this-test"
# Words of code that have the same class and the same box look alike, and a notebook has ten thousand of them: the first
# of each stays as it is, and the others become plain text of their line, which axe-core reads in a quarter of the time.
ALIKE = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll('pre span')) {
        const box = word.closest('pre').parentElement.className;
        const look = [word.className, word.getAttribute('style'), word.parentElement.className, box].join('|');
        if (seen.has(look) && !word.children.length && !word.id) word.replaceWith(word.textContent);
        seen.add(look);
    }
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser without network; skips the test where none is installed."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            flags = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
            browser = playwright.chromium.launch(executable_path=found, args=flags)
        except Error:
            pytest.skip("no Chromium is installed: apt-get install chromium, or playwright install chromium")
        yield browser
        browser.close()


def faults_seen(page: Page, file: Path, widths: tuple[int, ...], axe_at: tuple[int, ...] = ()) -> list[str]:
    """What is wrong with a page as it is seen, with everything unfolded: it is wider than a window, a picture is
    missing, or axe-core finds a barrier (at the widths `axe_at`)."""
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate("document.querySelectorAll('img').forEach(one => one.loading = 'eager')")
    page.wait_for_function("[...document.images].every(one => one.complete)")
    page.evaluate(ALIKE)
    faults = [
        f"{n} pictures missing"
        for n in [page.evaluate("[...document.images].filter(one => !one.naturalWidth).length")]
        if n
    ]
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        faults += [f"{wide} pixels wide in a window of {width}"] if wide > width else []
        if width in axe_at:
            for rule in Axe().run(page, options=RULES).response["violations"]:
                where = rule["nodes"][0]["html"][:120]
                faults.append(f"at {width}: {rule['id']} ({len(rule['nodes'])} times, first at {where})")
    return [f"{file.name}: {fault}" for fault in faults]


class Lab:
    """A running `sapnet lab` of a clone of the repository.

    Attributes:
        clone: the clone.
        page: a browser's window that shows a notebook after `open`.
    """

    def __init__(self, clone: Path, page: Page, port: int):
        self.clone, self.page, self.address = clone, page, f"http://127.0.0.1:{port}"

    def copy(self, name: str) -> dict:
        """The working copy of a notebook as it is on disk."""
        return json.loads((self.clone / "runs" / "lab" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))

    def ask(self, path: str) -> list | dict:
        """What the server's interface says."""
        with urllib.request.urlopen(f"{self.address}/api/{path}?token={TOKEN}", timeout=10) as answer:
            return json.load(answer)

    def open(self, name: str) -> None:
        """Open the copy of a notebook in a workspace of its own, wait for its kernel, and clear all outputs."""
        self.page.goto(f"{self.address}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb?token={TOKEN}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
        self.page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=120_000)
        self.menu("Edit", "Clear Outputs of All Cells")
        self.saved(name, lambda counts: not any(counts))

    def menu(self, name: str, entry: str) -> None:
        """Choose an entry of a menu by mouse."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.get_by_role("menuitem", name=entry).filter(has_text=re.compile(rf"^{re.escape(entry)}")).first.click()

    def saved(self, name: str, good: Callable[[list[int | None]], bool], seconds: float = 300) -> list[dict]:
        """Save a notebook from the menu, whenever the kernel rests, until the execution counts of its code cells are
        good on disk; returns these cells."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(kernel["execution_state"] == "idle" for kernel in self.ask("kernels")):
                self.menu("File", "Save Notebook")
            time.sleep(1)
            cells = [cell for cell in self.copy(name)["cells"] if cell["cell_type"] == "code"]
            if good([cell["execution_count"] for cell in cells]):
                return cells
        counts = [cell["execution_count"] for cell in cells]
        errors = [o["evalue"] for cell in cells for o in cell["outputs"] if o["output_type"] == "error"]
        raise AssertionError(f"{name}: after {seconds} s the cells have run as {counts}; errors: {errors}")

    def find(self, selector: str) -> Locator:
        """Scroll the notebook from its top until an element is there: JupyterLab draws only what is near the window."""
        found = self.page.locator(selector).first
        panel = self.page.locator(".jp-WindowedPanel-outer").first
        for step in range(400):
            panel.evaluate(f"panel => panel.scrollTop = {400 * step}")
            self.page.wait_for_timeout(50)
            if found.count():
                found.scroll_into_view_if_needed()
                return found
        raise AssertionError(f"the notebook shows no {selector}")


@contextmanager
def lab(browser: Browser, root: Path, folder: Path) -> Iterator[Lab]:
    """Clone the repository, start `sapnet lab` in the clone, and stop it at the end."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", "--local", str(root), str(clone)], check=True)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SAPNET", "PYTHON", "JUPYTER", "PYTEST"))}
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    process = subprocess.Popen(
        [sys.executable, "-m", "sapnet_core", "lab", "--no-browser", "--port", str(port)],
        cwd=clone,
        env={**kept, **own, "PYTHONPATH": str(clone), "PYTHONUTF8": "1", "JUPYTER_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        running = Lab(clone, page, port)
        for _ in range(600):
            assert process.poll() is None, "the server ended"
            try:
                running.ask("status")
                break
            except OSError:
                time.sleep(0.2)
        yield running
    finally:
        page.close()
        process.terminate()
        process.wait(30)
