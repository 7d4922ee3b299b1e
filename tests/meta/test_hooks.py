"""Every hook is documented with its signature, and what it brings is an instance of its interface."""

import inspect
import re
from pathlib import Path

import pytest

from stlm import interfaces
from stlm.plugin import HOOKS, KINDS, hookspecs
from stlm.testing.plugin import fake_registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text()
PRODUCTS = {
    "unit_encoder": ("SpeechUnitEncoder", "TextUnitEncoder"),
    "interleaver": ("Interleaver",),
    "backbone": ("BackboneLM",),
    "vocoder": ("Vocoder",),
    "source": ("Source",),
    "stage": ("Stage",),
    "runner": ("Runner",),
    "aligner": ("Aligner",),
    "judge": ("Judge",),
    "classifier": ("Classifier",),
    "f0_extractor": ("F0Extractor",),
    "text_normalizer": ("TextNormalizer",),
    "eval_task": ("EvalTask",),
    "recipe": ("Recipe",),
}
OPTIONS = {"tiny": {"vocab_size": 8}}


def section(hook: str) -> str:
    found = re.search(rf"^### {hook}\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"def {hook}{signature}: ..." in section(hook)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_page_names_the_interface_of_every_hook(hook: str) -> None:
    kind = next(kind for kind, name in KINDS.items() if name == hook)
    for name in PRODUCTS[kind]:
        assert f"`{name}`" in section(hook)
        assert f"`{name}`" in (getattr(hookspecs, hook).__doc__ or "")


def test_the_page_documents_no_hook_that_is_not_there() -> None:
    assert re.findall(r"^### (stlm_\w+)", PAGE, re.MULTILINE) == list(HOOKS)


def test_hooks_are_plural_nouns() -> None:
    assert all(re.fullmatch(r"stlm_[a-z0-9_]+s", hook) for hook in HOOKS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_brings_is_an_instance_of_its_interface(kind: str) -> None:
    registry = fake_registry()
    owned = [item for item in registry.components(kind) if item.dist == "stlm-fakes"]
    assert owned, "stlm.testing.plugin implements every hook"
    for item in owned:
        name = item.component.name
        built = registry.build(kind, name, OPTIONS.get(name))
        assert isinstance(built, tuple(getattr(interfaces, product) for product in PRODUCTS[kind]))
