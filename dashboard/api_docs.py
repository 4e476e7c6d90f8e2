"""The page at /api/docs: the OpenAPI description as plain HTML.

Invariant: no script, and nothing from another host; every text of the description is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.45 system-ui;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}pre{overflow:auto;padding:.6rem;border:1px solid #8886;border-radius:4px;"
    "font-size:13px}table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem "
    ".15rem 0;vertical-align:top}code{font-size:.95em}h2{margin:1.6rem 0 .2rem;font-size:1.1rem}"
)


def docs_page(description: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        description: an OpenAPI description.
    """
    schemas = description.get("components", {}).get("schemas", {})
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>",
        f"<title>Featurebook API</title><style>{_STYLE}</style>",
        f"<h1>Featurebook API {_text(description['info']['version'])}</h1>",
        "<p>The machine-readable description is at <a href='openapi.json'>openapi.json</a>. "
        "Every error is <code>{&quot;error&quot;: {&quot;type&quot;, &quot;message&quot;, "
        "&quot;hint&quot;}}</code> with a status of 4xx or 5xx. Where the server has a token, send "
        "it as <code>Authorization: Bearer TOKEN</code>.</p>",
        "<pre>curl -s http://127.0.0.1:8501/api/runs -H 'content-type: application/json' \\\n"
        "  -d '{&quot;prompt&quot;: &quot;Where does Ann Baker live?&quot;}'</pre>",
    ]
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            parts.append(_call(path, method, call, schemas))
    return "".join(parts) + "</html>"


def _call(path: str, method: str, call: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    parts = [f"<h2><code>{method.upper()} /api{_text(path)}</code></h2>"]
    parts.append(f"<p>{_text(call.get('description', ''))}</p>")
    parameters = call.get("parameters", [])
    if parameters:
        parts.append(_table([(item["name"], item["schema"], item) for item in parameters]))
    body = call.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolve(body.get("schema", {}), schemas)
    if schema:
        fields = schema.get("properties", {}).items()
        parts.append("<p>The body, as JSON:</p>")
        parts.append(_table([(name, field, field) for name, field in fields]))
    answer = call.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
    returned = _resolve(answer.get("schema", {}), schemas).get("properties", {})
    if returned:
        names = ", ".join(f"<code>{_text(name)}</code>" for name in returned)
        parts.append(f"<p>Returns {names}.</p>")
    return "".join(parts)


def _table(rows: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    lines = []
    for name, schema, described in rows:
        default = json.dumps(schema["default"]) if "default" in schema else ""
        lines.append(
            f"<tr><td><code>{_text(name)}</code></td><td>{_text(_type(schema))}</td>"
            f"<td><code>{_text(default)}</code></td>"
            f"<td>{_text(described.get('description', ''))}</td></tr>"
        )
    return (
        "<table><tr><th>name</th><th>type</th><th>default</th><th></th></tr>"
        + "".join(lines)
        + "</table>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _resolve(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    resolved: Mapping[str, Any] = schemas.get(reference, schema)
    return resolved


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
