"""Pages for links: plain HTML from the server, which shows a task and takes its answer without any script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from pydantic_core import to_json
from starlette.responses import HTMLResponse

from toolkit.human import FormField, TaskDetail, TaskLink, name_of, prefix_of

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f6f6f4;color:#1c1c1a}"
    "main{max-width:44rem;margin:2rem auto;padding:1.5rem 2rem;background:#fff;border:1px solid #ddd;border-radius:6px}"
    "h1{font-size:1.5rem;margin-top:0}h2{font-size:1.1rem}dt{font-weight:600}dd{margin:0 0 .4rem 1rem}"
    "label{display:block;font-weight:600}input,select,textarea{font:inherit;padding:.4rem;width:100%;box-sizing:border-box}"
    "input[type=radio]{width:auto}.choice{font-weight:400}button{font:inherit;padding:.5rem 1.2rem}"
    ".errors{border-left:4px solid #b3261e;padding:.2rem 1rem;background:#fdeceb}"
    ".notice{border-left:4px solid #1b6e3c;padding:.6rem 1rem;background:#eaf5ee}.message{white-space:pre-wrap}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # Not `no-referrer`: a browser would then send the form with the origin `null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}


def page(
    *,
    title: str,
    status: int = 200,
    notice: str = "",
    errors: Sequence[Mapping[str, Any]] = (),
    link: TaskLink | None = None,
    task: TaskDetail | None = None,
    base: str = "",
    given: Any = None,
    is_open: bool = False,
) -> HTMLResponse:
    """A page; ``is_open`` says that it asks, with ``given`` in the fields at first."""
    filled = task.suggested_data if given is None and task is not None else given
    form = task.form if task is not None and is_open else None
    if form is not None and form.is_object and not isinstance(filled, dict):
        filled = {}
    text = _template().render(
        title=title,
        notice=notice,
        errors=errors,
        task=task,
        person=link.person if link is not None else "",
        form=form,
        given=filled,
        base=base,
    )
    return HTMLResponse(text, status, headers=dict(HEADERS))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("toolkit.api"), autoescape=True)
    environment.globals.update(name_of=name_of, prefix_of=prefix_of, lines=_lines, style=_STYLE)
    return environment.get_template("task_link.html")


def _lines(field: FormField, value: Any) -> str:
    """What stands in a field of several lines."""
    if value is None:
        return ""
    if isinstance(value, list) and field.widget == "list" and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return value if isinstance(value, str) else to_json(value, indent=1).decode()
