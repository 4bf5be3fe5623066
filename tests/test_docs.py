"""What the documentation must not forget, and that what it says is true: options, checks, settings, traps, examples."""

from __future__ import annotations

import ast
import asyncio
import collections
import contextlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import environ
import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings
from django.utils.module_loading import import_string

import django_aurora_routing
from django_aurora_routing import config
from django_aurora_routing.conf import RoutingSettings
from django_aurora_routing.core.option_table import LATER_PREFIXES, OPTION_TABLE
from django_aurora_routing.core.plugins import PLUGIN_TABLE
from django_aurora_routing.routing.scopes import scope
from testproject.shop.models import Order, OrderLine, Product
from tests.routing.conftest import installed, sqlite

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "django_aurora_routing"
PAGES = {path.stem: path.read_text() for path in [*sorted(DOCS.glob("*.rst")), ROOT / "README.md"]}

CHECKS_IN = [*PACKAGE.glob("checks*.py"), *PACKAGE.glob("checks/*.py"), PACKAGE / "admin" / "options.py"]
CHECK_IDS = sorted({found for path in CHECKS_IN for found in re.findall(r"\b[EWI]\d{3}\b", path.read_text())})


@pytest.mark.parametrize("name", [row.name for row in OPTION_TABLE.values() if row.active])
def test_an_option_with_an_effect_is_in_the_table(name: str) -> None:
    assert f"* - ``{name}``" in PAGES["options"].replace("``\\ ``", "")  # a long one may be broken


def test_what_has_no_effect_is_said_to_have_none() -> None:
    said = PAGES["options"].partition("Names without an effect\n")[2].partition(".. _storms:")[0]
    inactive = sorted(row.name for row in OPTION_TABLE.values() if not row.active)
    assert sorted(re.findall(r"``(\w+)``", said)) == inactive
    assert sorted(re.findall(r"``([\w-]+-)``", said)) == sorted(LATER_PREFIXES)


@pytest.mark.parametrize("name", [name for name, row in PLUGIN_TABLE.items() if not row.refused])
def test_the_row_of_a_plugin_has_its_options(name: str) -> None:
    (row,) = (
        text
        for text in re.split(r"^   \* - ", PAGES["plugins"], flags=re.MULTILINE)
        if f"``{name}``" in text.split("\n")[0]
    )
    options = re.split(r"^     -", row, flags=re.MULTILINE)[2]
    assert sorted(re.findall(r"``(\w+)``", options)) == sorted(PLUGIN_TABLE[name].options)


def test_each_plugin_has_one_row_and_no_other_name_has() -> None:
    rows = re.findall(r"^   \* - (``.+)$", PAGES["plugins"], re.MULTILINE)
    built = sorted(name for name, row in PLUGIN_TABLE.items() if not row.refused)
    assert sorted(re.findall(r"``(\w+)``", " ".join(rows))) == built


@pytest.mark.parametrize("name", ["bg", "limitless"])
def test_a_plugin_that_there_never_is_is_spoken_of(name: str) -> None:
    assert f"``{name}``" in PAGES["plugins"].partition("Names that are known and refused")[2]


@pytest.mark.parametrize("check_id", CHECK_IDS)
def test_a_check_has_its_heading(check_id: str) -> None:
    assert f"``aurora_routing.{check_id}``\n---" in PAGES["checks"]


def test_there_is_no_heading_without_its_check() -> None:
    assert sorted(re.findall(r"^``aurora_routing\.(\w+)``$", PAGES["checks"], re.MULTILINE)) == CHECK_IDS


def test_the_table_of_settings_has_every_key_with_its_default() -> None:
    rows = re.findall(r"   \* - ``([A-Z_]+)``\n     - ``(.+)``\n", PAGES["read-write-splitting"])
    there = {name: ast.literal_eval(default) for name, default in rows}
    ours = {field.name.upper(): field.default for field in fields(RoutingSettings)}
    assert there == {name: list(value) if isinstance(value, tuple) else value for name, value in ours.items()}


# -- the traps, and the faults of the AWS wrapper


def listed(page: str) -> dict[int, list[str]]:
    """The numbered entries of a page, each with the tests that it names."""
    entries = re.findall(r"^(\d+)\. (.+?)(?=^\d+\. |^\w|\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    return {int(number): re.findall(r"``(test_\w+)``", text) for number, text in entries}


LISTS = {"trap": listed("traps"), "fault": listed("faults")}
SOURCES = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
TESTS = {name for source in SOURCES for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", source, re.M)}


@pytest.mark.parametrize(("kind", "count"), [("trap", 47), ("fault", 17)])
def test_every_trap_and_fault_is_listed(kind: str, count: int) -> None:
    assert sorted(LISTS[kind]) == list(range(1, count + 1))
    numbered = {int(name.split("_")[2]) for name in TESTS if name.startswith(f"test_{kind}_")}
    assert numbered <= set(LISTS[kind])


@pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind, found in LISTS.items() for number in found])
def test_a_trap_or_fault_has_its_test(kind: str, number: int) -> None:
    named = LISTS[kind][number]
    assert any(name.startswith(f"test_{kind}_{number:02}_") for name in named), "it names no test of its own"
    assert all(name.startswith(f"test_{kind}_{number:02}_") for name in named if name.startswith(f"test_{kind}_"))
    assert set(named) <= TESTS


# -- the design's table


def test_the_rooms_and_tests_of_the_design_are_there() -> None:
    """Paths in the table of features: `routing/blocks`, or another module of the room named before it."""
    cell = r"     - (.+(?:\n       .+)*)\n"
    rows = re.findall(rf"^   \* - .+(?:\n       .+)*\n{cell}{cell}", PAGES["design"] + "\n", re.MULTILINE)[1:]
    assert len(rows) > 30
    for rooms, tests in rows:
        for room, cell in ((PACKAGE, rooms), (ROOT, tests)):
            folder = room
            for name in re.findall(r"``([\w/]+)``", cell):
                path = next((at / name for at in (folder, room, ROOT) if exists(at / name)), None)
                assert path is not None, f"{name} in {cell!r} is not there"
                folder = path.parent


def exists(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


# -- links of the README; Sphinx looks at the others


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)(\S+?)\)", PAGES["README"]))))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


# -- the examples


@dataclass(frozen=True)
class Example:
    page: str
    line: int
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def settings(self) -> set[str]:
        """The settings that it assigns."""
        targets = [target for node in self.tree.body if isinstance(node, ast.Assign) for target in node.targets]
        return {target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()} - {"WRITER"}


def examples() -> Iterator[Example]:
    for page, text in PAGES.items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.strip() == "```python":
                end = lines.index("```", number)
                yield Example(page, number + 2, "\n".join(lines[number + 1 : end]))
            elif line.strip() == ".. code-block:: python":
                margin = len(line) - len(line.lstrip())
                block = []
                for inner in lines[number + 1 :]:
                    if inner.strip() and len(inner) - len(inner.lstrip()) <= margin:
                        break
                    block.append(inner)
                yield Example(page, number + 3, inspect.cleandoc("\n".join(block)))


EXAMPLES = list(examples())


def each(chosen: list[Example]) -> Any:
    return pytest.mark.parametrize("example", chosen, ids=lambda example: f"{example.page}:{example.line}")


def test_there_are_examples() -> None:
    assert {"README", "quickstart", "in_database", "read-write-splitting"} <= {example.page for example in EXAMPLES}


@each(EXAMPLES)
def test_an_example_compiles_and_names_what_is_there(example: Example) -> None:
    compile(example.source, example.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(example.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Constant) and str(node.value).startswith(f"{PACKAGE.name}."):
            path = str(node.value)
            if path.startswith(f"{PACKAGE.name}.backends."):
                path += ".base.DatabaseWrapper"
            import_string(path)


RUN = ("quickstart", "in_database", "read-write-splitting", "routing", "migrating", "README")


ROUTERS = [f"django_aurora_routing.routers.{name}" for name in ("DynamicDbRouter", "ReadWriteRouter")]


@each(
    [
        example
        for example in EXAMPLES
        if example.page in (*RUN, "configuration", "pools") and "DATABASES" in example.settings
    ]
)
def test_settings_of_an_example_pass_our_checks(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "secret")
    monkeypatch.setenv("DATABASE_URL", "mysql://shop:secret@shop.cluster-abc123.eu-west-1.rds.amazonaws.com/shop")
    given: dict[str, Any] = {"os": os, "env": environ.Env(), "databases": config.databases}
    exec(example.source, given)
    databases = {alias: settings for alias, settings in given["DATABASES"].items() if settings != {...}}
    wanted = {"DATABASE_ROUTERS": ROUTERS, **{name: given[name] for name in example.settings - {"DATABASES"}}}
    wanted = {name: [*filter(is_told, value)] if isinstance(value, list) else value for name, value in wanted.items()}
    wanted["INSTALLED_APPS"] = [app for app in settings.INSTALLED_APPS if not app.startswith("tests.")]
    # The outer one ends last, so nothing that was found out about these databases is kept.
    with override_settings(AURORA_ROUTING={}), unconnected(databases), override_settings(**wanted):
        found = [message for message in run_checks(tags=["aurora_routing"]) if message.id != "aurora_routing.W001"]
        accepted = {"aurora_routing.I010"} if "MIDDLEWARE" not in wanted else set()
        assert [message for message in found if message.id not in accepted] == []


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@each([example for example in EXAMPLES if example.page == "login"])
def test_a_login_of_an_example_passes_our_checks(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_PASSWORD", "secret")
    given: dict[str, Any] = {"os": os}
    exec(example.source, given)
    with override_settings(DATABASES={"default": given["WRITER"]}, AURORA_ROUTING={}, DATABASE_ROUTERS=[]):
        found = [message for message in run_checks(tags=["aurora_routing"]) if message.id != "aurora_routing.W001"]
    assert found == []


def is_told(entry: Any) -> bool:
    return entry is not ...


class unconnected:
    """These databases in the place of DATABASES; their engines are imported and never connected to."""

    def __init__(self, databases: dict[str, Any]) -> None:
        self.databases = connections.configure_settings(databases)

    def __enter__(self) -> None:
        self.before, connections.settings = connections.settings, self.databases
        self.wrappers = {alias: connections[alias] for alias in self.before if alias in self.databases}
        for alias in self.wrappers:
            del connections[alias]

    def __exit__(self, *exc_info: object) -> None:
        for alias in self.databases:
            if hasattr(connections._connections, alias):
                del connections[alias]
        connections.settings = self.before
        for alias, wrapper in self.wrappers.items():
            connections[alias] = wrapper


SHOP = ("default", "reader", "external", "archive")


@pytest.fixture
def shop(tmp_path: Path, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """The names that the examples use: the shop's models, on SQLite files."""
    configs = {alias: sqlite(tmp_path / f"{alias}.sqlite3") for alias in SHOP}
    routing = {"CLUSTERS": {"default": {"writer": "default", "readers": ["reader"]}}}
    names = {"Order": Order, "Product": Product, "asyncio": asyncio, "archive_file": tmp_path / "archive.sqlite3"}
    with django_db_blocker.unblock(), installed(configs), override_settings(AURORA_ROUTING={}), scope("an example"):
        for alias in SHOP:
            with connections[alias].schema_editor() as editor:
                for model in (Product, Order, OrderLine):
                    editor.create_model(model)
            Order(customer="Ada").save(using=alias)
            Product(sku="1", name="A cup", price=1).save(using=alias)
        with override_settings(DATABASE_ROUTERS=ROUTERS, AURORA_ROUTING=routing):
            yield names | {name: getattr(django_aurora_routing, name) for name in django_aurora_routing.__all__}


@each([example for example in EXAMPLES if example.page in RUN and not example.settings])
def test_an_example_runs_and_prints_what_it_says(
    example: Example, shop: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    source = example.source.replace('"/srv/archive/2019.sqlite3"', "archive_file")
    before, name = set(shop), f"{example.page}:{example.line}"
    code = compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with queries_by_line(name) as asked:
        exec(code, shop)
    for number, line in enumerate(source.splitlines(), 1):
        if (alias := re.search(r"#.*?\"(\w+)\"", line)) and alias[1] in SHOP:
            assert asked[number] == {alias[1]}, line
    said = re.findall(r"print\(.+\) +# ('.+)$", source, re.MULTILINE)
    assert [line for line in capsys.readouterr().out.splitlines() if line in said] == said
    for name in set(shop) - before:
        run(shop[name])


@contextlib.contextmanager
def queries_by_line(name: str) -> Iterator[dict[int, set[str]]]:
    """The aliases that each line of the code named `name` sends queries to, in this thread."""
    asked: dict[int, set[str]] = collections.defaultdict(set)

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        frame = sys._getframe()
        while frame.f_back is not None and frame.f_code.co_filename != name:
            frame = frame.f_back
        asked[frame.f_lineno].add(context["connection"].alias)
        return execute(sql, params, many, context)

    with contextlib.ExitStack() as stack:
        for alias in SHOP:
            stack.enter_context(connections[alias].execute_wrapper(note))
        yield asked


def run(made: Any) -> None:
    """Call the functions of an example that take nothing, whatever their kind."""

    async def collected(function: Callable[[], Any]) -> list[Any]:
        return [item async for item in function()]

    if not inspect.isfunction(made) or inspect.signature(made).parameters:
        return
    if inspect.isasyncgenfunction(made):
        assert asyncio.run(collected(made))
    elif inspect.iscoroutinefunction(made):
        assert asyncio.run(made())
    else:
        result = made()
        assert list(result) if inspect.isgenerator(result) else result
