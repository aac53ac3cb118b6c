"""The report: one page, opened in a browser, that asks nothing of any network."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from bounds.errors import StudyError
from bounds.present.figures import corners, range_panel
from bounds.present.figures.verdicts import lead_words
from bounds.present.report import make_report, write_report
from bounds.present.report.marks import mark
from bounds.results.equal_storage import ACCOUNTS
from bounds.results.ranges import chunk_pairs, load_rows
from bounds.results.summary import statement, summarise

REQUIRED = os.environ.get("LAYERBOUNDS_REQUIRE_CHROMIUM") == "1"
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Whatever a browser wants to look up by itself is not found.
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"),
)


@pytest.fixture(scope="module")
def rows(ran):
    return load_rows(ran.results / "tiny")


@pytest.fixture(scope="module")
def page(ran, tmp_path_factory):
    return write_report(ran.results / "tiny", tmp_path_factory.mktemp("report") / "report.html")


class Elements(HTMLParser):
    """Tags with attributes, and whether all are closed."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page.read_text("utf-8"))


def test_page_is_whole_and_its_ids_are_its_own(elements):
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    used = {
        reference
        for _, attributes in elements.found
        for value in attributes.values()
        for reference in re.findall(r"^#(.+)$|url\(#([^)]+)\)", value)
    }
    assert {first or second for first, second in used} <= set(ids)


def test_page_points_nowhere(page, elements):
    for tag, attributes in elements.found:
        assert tag not in ("script", "iframe", "img", "object", "embed", "base", "form")
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attributes)
    text = page.read_text("utf-8")
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text


def test_page_says_what_the_results_say(page, rows):
    text = page.read_text("utf-8")
    pairs = chunk_pairs(rows)
    won = sum(pair.verdict.winner == "quantization" for pair in pairs)
    assert f"<b>{won} of {len(pairs)}</b>" in text
    assert statement(rows).replace("'", "&#x27;") in text
    for one in summarise(rows):
        for account in ACCOUNTS:
            for pair in one.pairs[account].values():
                verdict = pair.verdict
                cell = f"{verdict.winner[0].upper()} {verdict.margin:+.1f}".replace("-", "−")
                assert f'<td class="{verdict.winner}" data-bits="{pair.bits} bits">{cell}<' in text
            assert f'<td class="crossover">{one.crossover(account).words}</td>' in text
        assert f"{one.source}, {one.share}</small>" in text
        for pair in one.pairs["values"].values():
            for known in (pair.quantization, pair.pruning):
                assert (
                    f"<td>{known.snr_heuristic:.2f}</td><td>{known.snr_attained:.2f}</td>" in text
                )


def test_every_panel_is_there_and_changes_colour(elements, page):
    labels = [a["aria-label"] for tag, a in elements.found if tag == "svg"]
    assert [re.split(" of | at ", label)[0] for label in labels] == [
        *("Verdicts",) * 3,
        *("Ranges",) * 3,
        *("Loss",) * 2,
        *("Held-out SNR",) * 2,
    ]
    # Ink, shades and bit widths are variables; a colour left as a number stays on a dark page.
    drawings = "".join(re.findall(r"<svg.*?</svg>", page.read_text("utf-8"), re.DOTALL))
    left = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawings))
    assert left <= {"#ffffff", "#cccccc"}


def test_verdicts_are_drawn_before_one_table_with_a_switch(page, elements):
    text = page.read_text("utf-8")
    assert text.count('<table class="verdicts">') == 1
    radios = [a for tag, a in elements.found if tag == "input"]
    assert [a["id"] for a in radios] == [f"by-{account}" for account in ACCOUNTS]
    assert {(a["type"], a["name"]) for a in radios} == {("radio", "storage")}
    assert [("checked" in a) for a in radios] == [True, False, False]
    labelled = [a["for"] for tag, a in elements.found if tag == "label"]
    assert labelled == [a["id"] for a in radios]
    assert text.index('aria-label="Verdicts') < text.index("<table")
    for account in ACCOUNTS:  # a style sheet does the switching
        assert (
            f'#by-{account}:checked ~ .verdict [data-storage]:not([data-storage="{account}"])'
            in text
        )


def test_every_rectangle_has_words_and_small_ones_a_ring(rows, page):
    text = page.read_text("utf-8")
    titles = re.findall(r'<g id="r2-(spot|tiny)\d+" class="\1"><title>([^<]+)</title>', text)
    pairs = chunk_pairs(rows)
    assert len(titles) == len(pairs)
    for (_, words), pair in zip(titles, pairs, strict=True):
        assert words.startswith(
            f"{pair.source} {pair.layer}, chunk {pair.chunk}, {pair.bits} bits: "
        )
        assert f"pruning {pair.pruning.snr_heuristic:.2f} to " in words
    bars = re.findall(r'<g id="vv-bar\d+" class="bar"><title>([^<]+)</title>', text)
    assert len(bars) == 4 and all("quantization is better by" in words for words in bars)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (2.0, 3.0, "quantization is better by 2.00 dB to 3.00 dB"),
        (2.0, 2.001, "quantization is better by 2.00 dB"),
        (-3.0, -2.0, "pruning is better by 2.00 dB to 3.00 dB"),
        (1.0, math.inf, "quantization is better by 1.00 dB at least"),
        (-math.inf, 1.0, "undecided; quantization's lead is between -inf and +1.00 dB"),
    ],
)
def test_lead_in_words(low, high, words):
    assert lead_words(low, high) == words


def test_rings_are_for_what_is_a_few_pixels(rows):
    pairs = chunk_pairs(rows)
    _, ax = plt.subplots()
    try:
        range_panel(pairs, ax=ax)
        bits = sorted({pair.bits for pair in pairs})
        assert "tiny" in "".join(mark(pairs, ax=ax, bits=bits))
        (first,) = (p for p in pairs[:1])
        box = corners(first)
        ax.set_xlim(box[0] - 0.01, box[2] + 0.01)
        ax.set_ylim(box[1] - 0.01, box[3] + 0.01)
        assert list(mark(pairs[:1], ax=ax, bits=bits)) == ["spot0"]
    finally:
        plt.close("all")


def test_same_results_give_the_same_page(rows, page):
    assert make_report(rows, "tiny", "x = 1") == make_report(rows, "tiny", "x = 1")
    assert not [path for path in page.parent.iterdir() if path != page]


def test_names_from_elsewhere_are_text(rows):
    evil = "<script>alert(1)</script>&\"'"
    text = make_report([replace(r, layer=evil, source=evil) for r in rows], evil, evil)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert Elements(text).open == []


def test_open_results_are_shown(rows):
    some = [replace(r, lower=0.0, exact=0, certified=0) for r in rows]
    text = make_report(some, "open")
    assert "∞" in text and 'class="undecided"' in text
    assert ">open at every width<" in text and "undecided; quantization&#x27;s lead" in text


def test_refusals(rows, tmp_path):
    with pytest.raises(StudyError, match="both problems"):
        make_report([r for r in rows if r.problem == "pruning"], "half")
    with pytest.raises(StudyError, match="no results"):
        write_report(tmp_path, tmp_path / "report.html")


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page."""

    dom: str
    console: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium")
    if found is None:
        reason = "chromium is not installed: apt-get install --no-install-recommends chromium"
        if REQUIRED:
            pytest.fail(f"{reason} (LAYERBOUNDS_REQUIRE_CHROMIUM=1)")
        pytest.skip(reason)
    return found


def run(chromium: str, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [chromium, *QUIET, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def visit(chromium: str, page: Path, folder: Path) -> Visit:
    log = folder / "net.json"
    done = run(
        chromium,
        folder / "profile",
        "--enable-logging=stderr",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    )
    events = json.loads(log.read_text("utf-8"))["events"]
    starts = [e["params"] for e in events if "initiator" in e.get("params", {})]
    return Visit(
        dom=done.stdout,
        console=[line for line in done.stderr.splitlines() if "CONSOLE" in line],
        # What the browser asks on its own behalf has no origin.
        requests=[p.get("url", "") for p in starts if p["initiator"] != "not an origin"],
    )


def test_browser_shows_verdicts_and_asks_nothing(chromium, page, rows, tmp_path):
    seen = visit(chromium, page, tmp_path)
    assert (seen.console, seen.requests) == ([], [])
    layers = [one.layer for one in summarise(rows)]
    bodies = re.findall(r'<tbody data-storage="(\w+)">(.*?)</tbody>', seen.dom, re.DOTALL)
    assert [account for account, _ in bodies] == list(ACCOUNTS)
    for _, body in bodies:
        assert re.findall(r'<th scope="row">([^<]+)', body) == layers
        cells = re.findall(r'<td class="(?:quantization|pruning|undecided)" data-bits', body)
        assert len(cells) == len(layers) * 2
    assert seen.dom.count("<svg") == 10


#: Tries the switch, measures the page, asks what lies under the pointer; tells the frame around it.
PROBE = """<script>
const seen = (e) => e.getClientRects().length > 0;
const told = {width: innerWidth, switched: {}, focus: [], under: []};
for (const radio of document.querySelectorAll("input[name=storage]")) {
  radio.focus();
  told.focus.push(document.activeElement === radio && seen(radio));
  document.querySelector(`label[for=${radio.id}]`).click();
  const parts = [...document.querySelectorAll("[data-storage]")].filter(seen);
  told.switched[radio.id] = parts.map((e) => e.tagName + " " + e.dataset.storage);
}
told.wide = document.documentElement.scrollWidth;
const table = document.querySelector(".verdicts");
told.table = [table.getBoundingClientRect().right, table.parentElement.clientWidth,
  table.parentElement.scrollWidth];
told.used = Math.max(...[...document.querySelectorAll("figure, table")].filter(seen)
  .map((e) => e.getBoundingClientRect().right));
const sizes = [];
for (const text of document.querySelectorAll("svg text")) {
  const box = text.getBoundingClientRect();
  if (box.width && !text.parentElement.outerHTML.includes("rotate(-90")) sizes.push(box.height);
}
told.letters = Math.min(...sizes);
for (const group of document.querySelectorAll(".tiny, .spot")) {
  group.scrollIntoView({block: "center"});
  const box = group.querySelector("use").getBoundingClientRect();
  const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  told.under.push(hit?.closest(".tiny, .spot")?.querySelector("title")?.textContent ?? "");
}
parent.postMessage(JSON.stringify(told), "*");
</script></body>"""
#: A window has a least width, a frame has none.
FRAME = """<!DOCTYPE html><pre id="told"></pre><script>
addEventListener("message", (e) => { document.getElementById("told").textContent = e.data; });
</script><iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe>"""


@pytest.mark.parametrize("width", [420, 1400])
def test_browser_switches_accounts_and_fits(chromium, page, rows, tmp_path, width):
    probed = tmp_path / "probed.html"
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    probed.write_text(text.replace("</body>", PROBE), "utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("{width}", str(width)), "utf-8")
    done = run(
        chromium,
        tmp_path / "profile",
        f"--window-size={width + 100},1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
        frame.as_uri(),
    )
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    told = json.loads(unescape(found[1]))
    assert told["width"] == width
    assert told["focus"] == [True] * 3
    assert told["switched"] == {
        f"by-{account}": [f"FIGURE {account}", f"TBODY {account}"] for account in ACCOUNTS
    }
    # No scrolling sideways, of the page or of the verdicts; and the width is used.
    assert told["wide"] <= width
    right, inner, outer = told["table"]
    assert right <= width and outer <= inner
    assert told["used"] >= 0.9 * width
    assert told["letters"] >= 9
    assert len(told["under"]) == 2 * len(chunk_pairs(rows)) and all(told["under"])


def test_browser_test_would_notice(chromium, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://layerbounds.invalid/x.png"><script>missing()</script>')
    seen = visit(chromium, bad, tmp_path)
    assert any("missing is not defined" in line for line in seen.console)
    assert seen.requests == ["http://layerbounds.invalid/x.png"]


@pytest.mark.parametrize(("width", "height"), [(1400, 1600), (420, 1600)])
def test_browser_draws_it(chromium, page, tmp_path, width, height):
    picture = tmp_path / "page.png"
    run(
        chromium,
        tmp_path / "profile",
        f"--screenshot={picture}",
        f"--window-size={width},{height}",
        page.as_uri(),
    )
    with Image.open(picture) as image:
        assert image.size == (width, height)
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or ()}
    # Paper, and the tint of a verdict for quantization.
    assert (255, 255, 255) in colours and (0xDB, 0xEA, 0xF7) in colours
