"""Every report is a page that a browser lets do nothing but show itself."""

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pytest

from earful.training.reports import html_page
from earful.training.reports.html_page import render_page
from earful.training.reports.results_report import write_results_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEMPLATES = Path(html_page.__file__).with_name("templates")
# Fragments that other templates include.
FRAGMENTS = {"clip.html", "layout.html", "tables.html"}
# What a page with an injected element would try.
INJECTED = """
<script>document.title = "owned"</script>
<img src="http://127.0.0.1:{port}/pixel" onerror="document.title='owned'">
<style>body { display: none }</style><form action="http://127.0.0.1:{port}/"></form>
"""


def test_every_template_has_the_policy() -> None:
    names = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html")}
    for name in names - FRAGMENTS:
        text = (TEMPLATES / name).read_text("utf-8")
        assert text.startswith("{% extends 'layout.html' %}"), name
        assert "style>" not in text, f"{name}: styles go to the block that the policy has"
        assert re.search(r"\son[a-z]+=", text) is None, f"{name}: the policy runs no handler"


@pytest.mark.slow
@pytest.mark.browser
def test_browser_runs_nothing_that_is_injected(
    browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole in the escaping alone does not make a page run a stranger's script."""
    page_file = tmp_path / "page.html"
    layout = (TEMPLATES / "layout.html").read_text("utf-8")
    child = (
        "{% extends 'layout.html' %}{% block style %}p { color: red }{% endblock %}"
        "{% block body %}<p style='width: 50%'>text</p>{{ injected|safe }}{% endblock %}"
        "{% block script %}window.ran = true;{% endblock %}"
    )
    templates = jinja2.Environment(
        loader=jinja2.DictLoader({"layout.html": layout, "child.html": child}), autoescape=True
    )
    monkeypatch.setattr(html_page, "_templates", lambda: templates)
    stranger = socket.create_server(("127.0.0.1", 0))
    stranger.settimeout(0.5)
    injected = INJECTED.replace("{port}", str(stranger.getsockname()[1]))
    page_file.write_text(render_page("child.html", injected=injected), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("window.ran")  # its own script, style and style attribute work
    assert page.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(255, 0, 0)"
    assert page.evaluate("document.querySelector('p').style.width") == "50%"
    assert page.title() != "owned"
    assert page.evaluate("getComputedStyle(document.body).display") != "none"
    context.close()
    with pytest.raises(TimeoutError):  # nobody has asked for the picture
        stranger.accept()
    stranger.close()


def wait_until(page: "Page", expression: str) -> None:
    """Ask from outside: the policy does not let a page evaluate text, as ``wait_for_function``."""
    end = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


@pytest.mark.slow
@pytest.mark.browser
def test_a_report_breaks_no_rule_of_its_own(
    browser: "Browser", tmp_path: Path, write_wav: Callable[..., Path]
) -> None:
    write_wav("<img src=x onerror=alert(1)>.wav", [0.1] * 8_000)
    results = tmp_path / "results.csv"
    results.write_text(
        "filename,start,end,label,score,status,error,expected\n"
        "<img src=x onerror=alert(1)>.wav,0.000,1.000,<b>,0.9,ok,,low\n",
        encoding="utf-8",
    )
    write_results_report(results, tmp_path / "page.html", audio_dir=tmp_path)
    context = browser.new_context()
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    page.goto((tmp_path / "page.html").as_uri())
    wait_until(page, "[...document.images].every((image) => image.naturalWidth > 0)")
    page.evaluate("document.querySelector('audio').play()")
    wait_until(page, "document.querySelector('audio').currentTime > 0")
    assert messages == []
    context.close()
