"""The parts of uvicorn that the HTTP server overrides and uses exist in the installed version."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from syncd.web.http import protocol
from syncd.web.http.protocol import DrainingProtocol, LimitedProtocol
from syncd.web.http.server import _EmbeddedServer

OVERRIDES = [
    (subclass, name, base)
    for subclass, base in (
        (DrainingProtocol, HttpToolsProtocol),
        (LimitedProtocol, HttpToolsProtocol),
        (_EmbeddedServer, uvicorn.Server),
    )
    for name, member in vars(subclass).items()
    if isinstance(member, FunctionType) and (not name.startswith("_") or name == "_start_asgi_task")
]


@pytest.mark.parametrize(
    ("subclass", "name", "base"), OVERRIDES, ids=[f"{one.__name__}.{name}" for one, name, _ in OVERRIDES]
)
def test_overridden_methods_exist(subclass: type, name: str, base: type) -> None:
    """A method that uvicorn calls, and ours replaces, is still there and takes the same arguments."""
    assert callable(getattr(base, name, None)), f"uvicorn {uvicorn.__version__} has no {base.__name__}.{name}"

    assert shape(getattr(subclass, name)) == shape(getattr(base, name))


def shape(function: FunctionType) -> list[tuple[str, object, bool]]:
    """Return name, kind and optionality of the parameters of a function."""
    parameters = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default is inspect.Parameter.empty) for one in parameters]


def test_nothing_is_overridden_by_accident() -> None:
    """Our own methods have names that uvicorn does not use."""
    overridden = {(subclass, name) for subclass, name, _ in OVERRIDES}
    for subclass, base in ((LimitedProtocol, HttpToolsProtocol), (_EmbeddedServer, uvicorn.Server)):
        for one in subclass.__mro__[: subclass.__mro__.index(base)]:
            for name in vars(one):
                assert name.startswith("__") or (one, name) in overridden or not hasattr(base, name), name


def test_uvicorn_calls_what_is_overridden() -> None:
    """Tasks of requests start, and malformed requests are refused, in the overridden methods only."""
    source = inspect.getsource(httptools_impl)

    assert source.count("create_task") == inspect.getsource(HttpToolsProtocol._start_asgi_task).count("create_task")
    assert "self._start_asgi_task(" in source
    assert "self.send_400_response(" in source


def test_attributes_that_are_used_exist() -> None:
    """Each attribute that the protocol uses of itself and of a request cycle is uvicorn's or its own."""
    used = set(used_attributes(Path(str(protocol.__file__)), {"self", "cycle", "_current", "_last"}))

    assert not used - attributes(LimitedProtocol) - attributes(RequestResponseCycle)
    assert {"server_state", "config", "should_exit", "serve", "startup"} <= attributes(uvicorn.Server)
    assert "timeout_graceful_shutdown" in inspect.signature(uvicorn.Config).parameters


def used_attributes(path: Path, owners: set[str]) -> Iterator[str]:
    """Yield the attributes of these names, wherever the name itself is a variable or an attribute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            owner = node.value
            if (isinstance(owner, ast.Name) and owner.id in owners) or (
                isinstance(owner, ast.Attribute) and owner.attr in owners
            ):
                yield node.attr


def attributes(class_: type) -> set[str]:
    """Return the attributes of a class, and those that its methods assign to `self`."""
    sources = [inspect.getsource(one) for one in class_.__mro__ if one.__module__.startswith(("syncd", "uvicorn"))]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    return {
        *dir(class_),
        *(one.attr for one in nodes if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)),
    }
