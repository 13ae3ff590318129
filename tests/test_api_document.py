"""The OpenAPI document and docs/api.md say of each route what it is, and the page /api shows them all."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service
from web.endpoint import PREFIX

DOCS = Path(__file__).parent.parent / "docs"
API = (DOCS / "api.md").read_text()


@pytest.fixture(scope="module")
def document(local_service: Service) -> dict[str, Any]:
    """As a program without a token gets it."""
    with local_service.client("") as nobody:
        found: dict[str, Any] = nobody.get(f"{PREFIX}/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{`GET /api/v1/runs`: the operation}."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    found = operations(document)
    assert len({each["operationId"] for each in found.values()}) == len(found)
    for name, each in found.items():
        assert each["summary"].endswith(".") and each["tags"], name
        assert any(status.startswith("2") for status in each["responses"]), name
        in_path = {each["name"] for each in each["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", name)), name
        open_to_all = each.get("security") == []
        assert ("401" in each["responses"]) != open_to_all, name


def test_the_documents_have_the_table_of_routes(document: dict[str, Any]) -> None:
    rows = "".join(f"| `{name}` | {each['summary']} |\n" for name, each in operations(document).items())
    assert rows in API, f"paste this into docs/api.md:\n{rows}"
    named = set(re.findall(rf"^\| `((?:GET|POST|PUT|PATCH|DELETE) {PREFIX}/[^`]+)`", API, re.MULTILINE))
    assert named == set(operations(document))


def test_the_page_shows_them_all_without_scripts(local_service: Service, document: dict[str, Any]) -> None:
    with local_service.client("") as nobody:
        page = nobody.get("/api")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "<script>" not in page.text and " style=" not in page.text
    for name, each in operations(document).items():
        method, path = name.split()
        assert f'id="{each["operationId"]}"' in page.text and f"{method}</b> <code>{path}</code>" in page.text
    ids = re.findall(r'id="([^"]+)"', page.text)
    assert len(set(ids)) == len(ids)
    links = re.findall(r'href="#([^"]+)"', page.text)
    assert set(links) <= set(ids)
