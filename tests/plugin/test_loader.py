"""No broken plugin takes the program down; each is listed with what is wrong with it."""

import re

import pytest

from stlm.plugin import HOOKS, KINDS, Component, Registry, load_plugins


def test_a_healthy_plugin_is_listed_with_what_it_offers(install, make_source) -> None:
    (plugin,) = load_plugins([install("stlm-good", make_source("stlm_interleavers", "one", "two"))])
    assert (plugin.dist, plugin.version, plugin.module, plugin.error) == ("stlm-good", "1.2", "stlm_good", None)
    (hook,) = plugin.components
    assert hook == "stlm_interleavers" and [item.name for item in plugin.components[hook]] == ["one", "two"]
    assert all(isinstance(item, Component) for item in plugin.components[hook])


BROKEN = {
    "import error": (
        "import no_such_module_anywhere",
        r"ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "exit at import": ("import sys; sys.exit(3)", r"SystemExit: 3"),
    "syntax error": ("def (", r"SyntaxError"),
    "misspelt hook": (
        "@hookimpl\ndef stlm_interleaver():\n    return []",
        r"no hook 'stlm_interleaver' \(did you mean 'stlm_interleavers'\?\)",
    ),
    "unmarked hook": ("def stlm_vocoders():\n    return []", "stlm_vocoders is not marked with stlm.plugin.hookimpl"),
    "hook that raises": ("@hookimpl\ndef stlm_vocoders():\n    raise ValueError('no luck')", "ValueError: no luck"),
    "hook that wants arguments": ("@hookimpl\ndef stlm_vocoders(config):\n    return []", "PluginValidationError"),
    "forgotten return": (
        "@hookimpl\ndef stlm_vocoders():\n    pass",
        "must return a sequence of .*Component, got None",
    ),
    "strings": ("@hookimpl\ndef stlm_vocoders():\n    return ['mine']", r"must return a sequence.*got \['mine'\]"),
    "a component alone": (
        "@hookimpl\ndef stlm_vocoders():\n    return Component(name='a', factory='b:c', config='d:e')",
        "must return a sequence",
    ),
    "mixed": (
        "@hookimpl\ndef stlm_vocoders():\n    return [Component(name='a', factory='b:c', config='d:e'), 3]",
        "must return a sequence",
    ),
    "nothing": ("@hookimpl\ndef stlm_vocoders():\n    return []", "must return a sequence"),
    "no name": (
        "@hookimpl\ndef stlm_vocoders():\n    return [Component(name=None, factory='b:c', config='d:e')]",
        "the name of .* is None, expected a string",
    ),
    "a name that looks qualified": (
        "@hookimpl\ndef stlm_vocoders():\n    return [Component(name='a/b', factory='b:c', config='d:e')]",
        "is called 'a/b', expected a name without '/'",
    ),
    "one name twice": (
        "@hookimpl\ndef stlm_vocoders():\n    return 2 * [Component(name='a', factory='b:c', config='d:e')]",
        "stlm_vocoders offers 'a' twice",
    ),
    "path without attribute": (
        "@hookimpl\ndef stlm_vocoders():\n    return [Component(name='a', factory='b.c', config='d:e')]",
        "'a' has 'b.c', expected 'module:attribute'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plugin_is_listed_with_its_error(install, make_source, what: str) -> None:
    source, message = BROKEN[what]
    points = [install("stlm-bad", source), install("stlm-good", make_source("stlm_interleavers", "one"))]
    bad, good = load_plugins(points)
    assert bad.error is not None and not bad.components
    assert re.search(message, bad.error), bad.error
    assert "\n" not in bad.error
    assert good.error is None and good.components


def test_a_module_that_is_not_there_is_named(install, make_source, monkeypatch, tmp_path) -> None:
    point = install("stlm-gone", make_source("stlm_interleavers", "one"))
    (tmp_path / "stlm_gone.py").unlink()
    (plugin,) = load_plugins([point])
    assert plugin.error is not None and "stlm_gone" in plugin.error and plugin.module is None


def test_what_a_plugin_prints_is_not_the_output_of_a_verb(install, make_source, capsys) -> None:
    source = make_source("stlm_interleavers", "one").replace("    return", "    print('hook')\n    return")
    (plugin,) = load_plugins([install("stlm-chatty", f"print('import')\n{source}")])
    assert plugin.error is None
    assert capsys.readouterr() == ("", "import\nhook\n")


def test_the_traceback_can_be_had(install, monkeypatch) -> None:
    point = install("stlm-bad", "raise ValueError('look here')")
    monkeypatch.setenv("STLM_PLUGIN_TRACE", "1")
    with pytest.raises(ValueError, match="look here"):
        load_plugins([point])


def test_a_plugin_that_is_listed_twice_is_one_plugin(install, make_source) -> None:
    """Editable installs can leave an entry point in two places of the path."""
    point = install("stlm-good", make_source("stlm_interleavers", "one"))
    assert len(load_plugins([point, point])) == 1


def test_two_plugins_of_one_entry_point_name_are_both_listed(install, make_source, tmp_path) -> None:
    one = install("stlm-one", make_source("stlm_interleavers", "same"))
    two = install("stlm-two", make_source("stlm_interleavers", "same"))
    same_name = type(two)(name=one.name, value=two.value, group="stlm")
    assert len(load_plugins([one, same_name])) == 2


def test_plugins_come_in_order_of_name(install, make_source) -> None:
    points = [install(f"stlm-{name}", make_source("stlm_interleavers", name)) for name in ("b", "c", "a")]
    assert [plugin.dist for plugin in load_plugins(points)] == ["stlm-a", "stlm-b", "stlm-c"]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_brings_its_components_to_their_kind(install, make_source, hook: str) -> None:
    registry = Registry(load_plugins([install(f"stlm-{hook.replace('_', '-')}", make_source(hook, "mine"))]))
    kind = next(kind for kind, name in KINDS.items() if name == hook)
    assert registry.find(kind, "mine").component.name == "mine"
    assert all(not registry.components(other) for other in KINDS if other != kind)
