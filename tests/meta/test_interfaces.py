"""Every interface has a contract, a page, the four parts of its docstring, and an example that runs."""

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from stlm import interfaces
from stlm.testing import contracts

ROOT = Path(__file__).parents[2]
MODULES = [module.name for module in iter_modules(interfaces.__path__)]
ABSTRACT = [name for name in interfaces.__all__ if inspect.isabstract(getattr(interfaces, name))]
PARTS = {
    "UnitEncoder": "its two sub-interfaces have contracts",
    "ExportableTextEncoder": "a law of TextUnitEncoderContract tests it",
    "BackboneCache": "BackboneContract tests it",
}
"""Abstract classes that are no doors of their own."""

INTERFACES = [name for name in ABSTRACT if name not in PARTS]


def contract_of(name: str) -> type:
    return getattr(contracts, f"{name.removesuffix('LM')}Contract")


def test_these_are_all_interfaces() -> None:
    defined = {
        name
        for module in MODULES
        for name, found in vars(import_module(f"stlm.interfaces.{module}")).items()
        if inspect.isabstract(found) and found.__module__.startswith("stlm.interfaces")
    }
    assert defined == set(ABSTRACT)
    assert len(INTERFACES) == 16


@pytest.mark.parametrize("name", INTERFACES)
def test_every_interface_has_a_contract_that_tests_it(name: str) -> None:
    contract = contract_of(name)
    assert issubclass(contract, contracts.ComponentContract)
    shared = vars(contracts.ComponentContract)
    laws = [law for law in vars(contract) if law.startswith("test_") and law not in shared]
    assert len(laws) >= 4
    assert "fixture ``" in (contract.__doc__ or ""), "the docstring says which fixture to give"


def test_there_is_no_contract_without_interface() -> None:
    known = {contract_of(name).__name__ for name in INTERFACES} | {"ComponentContract"}
    assert set(contracts.__all__) == known


@pytest.mark.parametrize("name", INTERFACES)
def test_every_docstring_has_its_four_parts(name: str) -> None:
    text = inspect.getdoc(getattr(interfaces, name)) or ""
    for part in ("**Contract.**", "**Implement**", "**For free**", "**Example**"):
        assert part in text, f"{name} lacks {part}"
    assert ">>> " in text


@pytest.mark.parametrize("name", INTERFACES)
def test_every_docstring_names_what_must_be_implemented(name: str) -> None:
    kind = getattr(interfaces, name)
    inherited = set().union(
        *(getattr(base, "__abstractmethods__", ()) for base in kind.__bases__ if base.__name__ in INTERFACES)
    )
    own = kind.__abstractmethods__ - inherited
    assert 1 <= len(own) <= 5, "abstract or final, five abstract members at most"
    said = re.search(r"\*\*Implement\*\*(.*?)(\*\*For free|$)", inspect.getdoc(kind) or "", re.DOTALL)
    assert said is not None
    for member in own:
        assert f"``{member}``" in said[1], f"{name} does not say that {member} must be implemented"


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_interfaces_run(module: str) -> None:
    found = import_module(f"stlm.interfaces.{module}")
    results = doctest.testmod(found)
    assert results.failed == 0
    if any(name in INTERFACES for name in vars(found)):
        assert results.attempted > 0 or module == "batch"


@pytest.mark.parametrize("name", [*ABSTRACT, "ChoiceItem", "Hidden", "LoraOptions", "PackedBatch"])
def test_every_interface_is_on_the_reference_page(name: str) -> None:
    page = (ROOT / "docs" / "reference" / "interfaces.md").read_text()
    assert f"::: {getattr(interfaces, name).__module__}.{name}\n" in page


def test_names_load_on_first_use_and_others_do_not_exist() -> None:
    for package in (interfaces, contracts):
        with pytest.raises(AttributeError, match="NoSuchThing"):
            _ = package.NoSuchThing
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
