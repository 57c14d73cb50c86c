"""report.html in Chromium: text of charts lies within its frame and overlaps no other, nothing is wider than the page,
links lead somewhere, the console is clean, axe-core finds no violation."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from page_examples import write_answered

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
AXE = os.environ.get("HEADWISE_AXE")  # path of axe.min.js
WIDTHS = (1280, 768, 390)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed: `make chromium-for-tests` installs it"),
]

# First in the page: what goes wrong is kept.
LISTEN = """
window.problems = [];
for (const level of ["error", "warn"]) console[level] = (...words) => problems.push(words.join(" "));
addEventListener("error", (event) => problems.push(event.message));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
"""
# Last in the page: everything is opened and drawn, then measured; the frame around it is told.
MEASURE = """
const overlaps = (one, other) =>
  Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
  Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
let seen = 0; // texts
const texts = (kind) => {
  const wrong = [];
  for (const svg of document.querySelectorAll(`.${kind} svg`)) {
    const name = svg.closest("figure").dataset.name;
    const frame = svg.getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")]
      .filter((text) => text.textContent.trim() && getComputedStyle(text).opacity !== "0")
      .map((text) => [text.textContent, text.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0);
    seen += boxes.length;
    boxes.forEach(([words, box], place) => {
      if (Math.min(box.left - frame.left, frame.right - box.right, box.top - frame.top, frame.bottom - box.bottom) < -1)
        wrong.push(`${name}: "${words}" is cut`);
      for (const [others, other] of boxes.slice(place + 1))
        if (overlaps(box, other)) wrong.push(`${name}: "${words}" overlaps "${others}"`);
    });
  }
  return wrong;
};
(async () => {
  const found = { width: innerWidth };
  for (const figure of document.querySelectorAll(".first figure")) await draw(figure);
  found.first = document.querySelector(".first").getBoundingClientRect().bottom;
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const figure of document.querySelectorAll("figure")) await draw(figure);
  found.figures = document.querySelectorAll("figure").length;
  found.live = texts("live");
  found.texts = seen;
  found.widest = document.documentElement.scrollWidth;
  found.lost = [...document.querySelectorAll("a[href]")].map((link) => link.getAttribute("href"))
    .filter((link) => !link.startsWith("#") || !document.getElementById(link.slice(1)));
  if (window.axe) {
    const { violations } = await axe.run();
    found.violations = violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html.slice(0, 90))]);
  }
  for (const [kind, hidden] of [["live", true], ["still", false]])
    document.querySelectorAll(`.${kind}`).forEach((place) => (place.hidden = hidden));
  found.still = texts("still");
  found.problems = problems;
  parent.postMessage(found, "*");
})().catch((error) => parent.postMessage({ width: innerWidth, problems: [String(error.stack)] }, "*"));
"""
FRAME = """<!doctype html><meta charset="utf-8"><pre id="found">[]</pre>
{frames}
<script>addEventListener("message", ({{ data }}) => {{
  const place = document.getElementById("found");
  place.textContent = JSON.stringify([...JSON.parse(place.textContent), data]);
}});</script>"""


@pytest.fixture(scope="module")
def found(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What each width of the page shows, from one start of the browser."""
    folder = tmp_path_factory.mktemp("page")
    write_answered(root, folder)
    source = (folder / "report.html").read_text(encoding="utf-8")
    scripts = [*([Path(AXE).read_text(encoding="utf-8")] if AXE else []), MEASURE]
    source = source.replace("<title>", f"<script>{LISTEN}</script><title>", 1)
    ending = "".join(f"<script>{script}</script>" for script in scripts)
    (folder / "measured.html").write_text(ending.join(source.rsplit("</body>", 1)) + "</body>", encoding="utf-8")
    frames = "".join(f'<iframe src="measured.html" width="{width}" height="720"></iframe>' for width in WIDTHS)
    (folder / "frame.html").write_text(FRAME.format(frames=frames), encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,2400"]
    command += ["--virtual-time-budget=60000", "--dump-dom", (folder / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    (told,) = re.findall(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    pages = json.loads(html.unescape(told))
    assert sorted(page["width"] for page in pages) == sorted(WIDTHS)
    return {page["width"]: page for page in pages}


@pytest.mark.parametrize("width", WIDTHS)
def test_text_of_charts_is_whole_and_apart(found: dict[int, dict[str, Any]], width: int) -> None:
    assert found[width]["figures"] > 10
    assert found[width]["texts"] > 20 * found[width]["figures"]
    assert found[width]["live"] == []


def test_text_of_charts_on_paper_is_whole_and_apart(found: dict[int, dict[str, Any]]) -> None:
    assert found[1280]["still"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_as_wide_as_its_window_and_whole(found: dict[int, dict[str, Any]], width: int) -> None:
    assert found[width]["problems"] == []
    assert found[width]["widest"] <= width
    assert found[width]["lost"] == []


def test_the_first_screen_needs_no_scrolling(found: dict[int, dict[str, Any]]) -> None:
    assert found[1280]["first"] <= 720


@pytest.mark.skipif(AXE is None, reason="axe-core is not at hand: HEADWISE_AXE is the path of its axe.min.js")
def test_axe_finds_nothing(found: dict[int, dict[str, Any]]) -> None:
    assert found[1280]["violations"] == []
    assert found[390]["violations"] == []
