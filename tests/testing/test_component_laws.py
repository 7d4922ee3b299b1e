"""The laws of a component's registration, on good and on broken ones."""

from dataclasses import dataclass
from typing import Any

import pytest

from stlm.plugin import Component, Plugin, Registry
from stlm.testing.contracts import ComponentContract, component
from stlm.testing.plugin import fake_registry


@dataclass
class Thawed:
    """Not frozen."""

    size: int = 1


@dataclass(frozen=True)
class Unspeakable:
    """YAML cannot hold it."""

    value: Any = print


@dataclass(frozen=True)
class Selfish:
    """Holds what does not pickle."""

    run: Any = None

    def __reduce__(self):
        raise TypeError("no pickle")


LAWS = (
    "test_declaring_it_loads_no_torch",
    "test_its_config_survives_a_round_trip_through_yaml",
    "test_its_config_pickles",
    "test_its_config_is_frozen",
    "test_its_factory_can_be_imported",
)


def outcome(monkeypatch: pytest.MonkeyPatch, registry: Registry, kind: str, name: str) -> set[str]:
    """Names of the laws that fail."""
    monkeypatch.setattr(component, "default_registry", lambda: registry)
    suite = type("TestIt", (ComponentContract,), {"kind": kind, "component": name})()
    failed = set()
    for law in LAWS:
        try:
            getattr(suite, law)()
        except (Exception, pytest.fail.Exception):
            failed.add(law)
    return failed


def one(config: str, factory: str = "stlm.errors:did_you_mean", module: str = "stlm.errors") -> Registry:
    found = Component(name="it", factory=factory, config=config)
    return Registry([Plugin(dist="d", version="1", module=module, components={"stlm_sources": (found,)})])


@pytest.mark.parametrize(
    ("kind", "name"),
    [("unit_encoder", "energy"), ("backbone", "tiny"), ("interleaver", "word_spans"), ("source", "folder")],
)
def test_good_registrations_keep_all_laws(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    assert outcome(monkeypatch, fake_registry(), kind, name) == set()


@pytest.mark.parametrize(
    ("registry", "law"),
    [
        (one(f"{__name__}:Thawed"), "test_its_config_is_frozen"),
        (one(f"{__name__}:Unspeakable"), "test_its_config_survives_a_round_trip_through_yaml"),
        (one(f"{__name__}:Selfish"), "test_its_config_pickles"),
        (one("stlm.interleave.unimodal:Config", factory="stlm.errors:nothing"), "test_its_factory_can_be_imported"),
        (one("stlm.interleave.unimodal:Config", module="torch"), "test_declaring_it_loads_no_torch"),
    ],
)
def test_a_broken_registration_is_caught(monkeypatch: pytest.MonkeyPatch, registry: Registry, law: str) -> None:
    assert law in outcome(monkeypatch, registry, "source", "it")


def test_the_laws_exist_only_where_a_component_is_named() -> None:
    class Without(ComponentContract):
        kind = "source"

    class With(Without):
        component = "folder"

    for law in LAWS:
        assert getattr(Without, law) is None and callable(getattr(With, law))
