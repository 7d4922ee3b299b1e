"""Finding components by name, and errors that say what to do."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from stlm.errors import ConfigError, DataError, PluginError
from stlm.interleave import Unimodal
from stlm.plugin import HOOKS, KINDS, Component, Plugin, Registry, default_registry, make_config
from stlm.plugin.doctor import diagnose
from stlm.plugin.registry import FIRST_PARTY

ROOT = Path(__file__).parents[2]
UNIMODAL = "stlm.interleave.unimodal"


def component(name: str, factory: str = f"{UNIMODAL}:build", config: str = f"{UNIMODAL}:Config") -> Component:
    return Component(name=name, factory=factory, config=config)


def plugin(dist: str, *components: Component, hook: str = "stlm_interleavers", error: str | None = None) -> Plugin:
    return Plugin(dist=dist, version="1", module=dist, components={hook: components} if components else {}, error=error)


def test_a_name_with_one_owner_is_found_bare_and_with_its_distribution() -> None:
    registry = Registry([plugin("stlm-a", component("one")), plugin("stlm-b", component("two"))])
    for name in ("one", "stlm-a/one"):
        owned = registry.find("interleaver", name)
        assert (owned.dist, owned.component.name) == ("stlm-a", "one")
    assert [owned.component.name for owned in registry.components("interleaver")] == ["one", "two"]


def test_two_owners_of_a_name_are_an_error_when_it_is_asked_for() -> None:
    registry = Registry([plugin("stlm-a", component("same"), component("other")), plugin("stlm-b", component("same"))])
    with pytest.raises(
        PluginError, match=r"'same' is offered by several plugins: write one of stlm-a/same, stlm-b/same"
    ):
        registry.find("interleaver", "same")
    assert registry.find("interleaver", "stlm-b/same").dist == "stlm-b"
    assert registry.find("interleaver", "other").dist == "stlm-a"


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    registry = Registry([plugin("stlm-a", component("word_spans"), component("sentence"))])
    with pytest.raises(
        PluginError,
        match=r"no interleaver 'word_span' \(did you mean 'word_spans'\?\); installed: sentence, word_spans$",
    ):
        registry.find("interleaver", "word_span")
    with pytest.raises(PluginError, match=r"no vocoder 'wavenet'; installed: none$"):
        registry.find("vocoder", "wavenet")


def test_an_unknown_kind_is_answered_with_the_kinds() -> None:
    with pytest.raises(
        PluginError, match=r"no component kind 'vocoders' \(did you mean 'vocoder'\?\); kinds: unit_encoder"
    ):
        Registry([]).components("vocoders")


@pytest.mark.parametrize("name", ["llama", "stlm-llama/llama"])
def test_a_first_party_component_that_is_missing_comes_with_its_pip_line(name: str) -> None:
    with pytest.raises(PluginError, match=r"it comes with: pip install stlm-llama$"):
        Registry([]).find("backbone", name)
    with pytest.raises(PluginError) as caught:
        Registry([plugin("stlm-llama")]).find("backbone", name)
    assert "pip install" not in str(caught.value), "the distribution is installed already"


def test_broken_plugins_are_named_where_something_is_missing() -> None:
    registry = Registry([plugin("stlm-broken", error="ImportError: x"), plugin("stlm-fine", component("one"))])
    with pytest.raises(PluginError, match=r"broken plugins: stlm-broken \(see stlm plugins\)"):
        registry.find("interleaver", "two")


def test_components_are_built_from_plain_options() -> None:
    registry = Registry([plugin("stlm-a", component("one"))])
    built = registry.build("interleaver", "one", {"modality": "text"})
    assert isinstance(built, Unimodal) and built.modality == "text"
    assert registry.build("interleaver", "one").modality == "speech"


def test_an_unknown_option_is_answered_with_a_suggestion() -> None:
    registry = Registry([plugin("stlm-a", component("one"))])
    with pytest.raises(
        ConfigError,
        match=r"interleaver 'one': unknown option 'modalty' \(did you mean 'modality'\?\); options: modality, layout",
    ):
        registry.build("interleaver", "one", {"modalty": "text"})


def test_a_missing_option_is_named() -> None:
    @dataclass
    class Config:
        path: str

    with pytest.raises(ConfigError, match=r"here: .*path"):
        make_config(Config, {}, where="here")


def test_what_cannot_be_imported_names_the_component_and_the_path() -> None:
    registry = Registry(
        [
            plugin(
                "stlm-a", component("one", factory="no_such_module:build"), component("two", config=f"{UNIMODAL}:Confg")
            )
        ]
    )
    with pytest.raises(PluginError, match=r"stlm-a/one: cannot load 'no_such_module:build': ModuleNotFoundError"):
        registry.build("interleaver", "one")
    with pytest.raises(PluginError, match=r"stlm-a/two: cannot load 'stlm.interleave.unimodal:Confg': AttributeError"):
        registry.config_type("interleaver", "two")


def test_an_error_of_ours_passes_through_as_it_is(install) -> None:
    install(
        "needy", "from stlm.errors import DataError\nraise DataError('espeak-ng is missing: apt install espeak-ng')"
    )
    registry = Registry([plugin("stlm-needy", component("one", config="needy:Config"))])
    with pytest.raises(DataError, match="apt install espeak-ng"):
        registry.build("interleaver", "one")


def test_an_error_of_a_factory_names_the_component_and_keeps_its_cause(install) -> None:
    source = "from dataclasses import dataclass\n@dataclass\nclass Config: ...\n"
    install("stlm-moody", f"{source}def build(config):\n    raise KeyError('no luck')", module="moody")
    registry = Registry([plugin("stlm-moody", component("one", "moody:build", "moody:Config"))])
    with pytest.raises(PluginError, match=r"^stlm-moody/one cannot be made: KeyError: 'no luck'$") as caught:
        registry.build("interleaver", "one")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_factory_that_makes_something_else_breaks_its_contract() -> None:
    registry = Registry([plugin("stlm-odd", component("one"), hook="stlm_vocoders")])
    with pytest.raises(PluginError, match=r"stlm-odd/one: .* made a Unimodal, expected a Vocoder"):
        registry.build("vocoder", "one")


def test_the_doctor_finds_what_would_fail_later() -> None:
    registry = Registry(
        [
            plugin("stlm-a", component("one"), component("same")),
            plugin("stlm-b", component("same"), component("gone", factory="no_such_module:build")),
            plugin("stlm-c", component("odd", config="stlm.errors:did_you_mean")),
            plugin("stlm-d", error="ImportError: x"),
        ]
    )
    problems = diagnose(registry)
    assert len(problems) == 4
    assert problems[0] == "stlm-d: ImportError: x"
    assert "stlm-b/gone: cannot load 'no_such_module:build'" in problems[1]
    assert "stlm-c/odd: config stlm.errors:did_you_mean is not a dataclass" in problems[2]
    assert "'same' has several owners (stlm-a, stlm-b)" in problems[3]
    assert diagnose(Registry([plugin("stlm-a", component("one"))])) == []


def test_the_core_offers_its_own_components_through_the_same_door() -> None:
    own = next(found for found in default_registry().plugins if found.dist == "stlm")
    assert own.error is None
    assert {item.name for item in own.components["stlm_interleavers"]} >= {"word_spans", "unimodal", "parallel"}


def test_everything_that_is_installed_here_loads() -> None:
    assert diagnose(default_registry()) == []


def test_first_party_hints_name_the_real_components() -> None:
    names = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    installed = {found.dist: found for found in default_registry().plugins}
    assert names <= set(installed), "install every plugin of this repository to run its tests: make setup"
    real = {
        (kind, item.name): dist
        for dist in names
        for kind, hook in KINDS.items()
        for item in installed[dist].components.get(hook, ())
    }
    hints = {(kind, name): FIRST_PARTY.get(f"{kind} {name}", FIRST_PARTY.get(name)) for kind, name in real}
    assert hints == real
    assert {key.split()[-1] for key in FIRST_PARTY} == {name for _, name in real}


def test_kinds_are_the_hooks_without_prefix_and_plural() -> None:
    assert list(KINDS.values()) == list(HOOKS)
    assert KINDS["unit_encoder"] == "stlm_unit_encoders" and KINDS["f0_extractor"] == "stlm_f0_extractors"
