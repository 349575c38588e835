"""A report in a real browser, where one is installed: nothing is cut, and the first page answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tui_datasize.cli.dispatch import main

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH_PX = 1100
PAGE_PX = int(WIDTH_PX * 297 / 210)
"""Height of a page of paper that is as wide as the window."""
MEASURE = """<script>
const top_of = text => [...document.querySelectorAll("h2")].find(h => h.textContent == text).offsetTop;
document.title = JSON.stringify({
  width: document.documentElement.scrollWidth,
  chart: document.querySelector("svg").getBoundingClientRect().bottom,
  plan: top_of("Which runs to queue next"),
  broken: [...document.querySelectorAll("td:not(.l)")].filter(
    cell => cell.checkVisibility() && cell.getClientRects()[0].height > 40).length,
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_the_answer_its_chart_and_the_plan_are_on_the_first_page(finished):
    page = finished.root / "page.html"
    assert main(["report", "digits", "-o", str(page), "--project", str(finished.root)]) == 0
    # The page itself forbids every script.
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f"{MEASURE}</body>"))
    assert BROWSER
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--window-size={WIDTH_PX},{PAGE_PX}")
    profile = f"--user-data-dir={finished.root / 'profile'}"
    done = subprocess.run(
        [BROWSER, *options, profile, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found
    seen = json.loads(found[1])
    assert seen["width"] <= WIDTH_PX
    assert 0 < seen["chart"] < seen["plan"] < PAGE_PX
    assert seen["broken"] == 0
