"""A run directory holds all of a system, notices what was changed in it, and never runs anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from stlm import checkpoint
from stlm.checkpoint import read_run_file, run_parts, save_system, write_run_file
from stlm.errors import DataError, FormatError, PluginError
from stlm.interfaces import AdaptableBackbone, LoraOptions
from stlm.system import SpeechTextLM
from stlm.testing.documents import plain
from stlm.testing.factories import make_sounds, tiny_system
from stlm.testing.fakes import EnergyEncoder, TinyBackbone
from stlm.testing.plugin import fake_registry

COMPONENTS = {
    "text": "stlm-fakes/bytes",
    "encoders/energy": "stlm-fakes/energy",
    "backbone": "stlm-fakes/tiny",
    "vocoder": "stlm-fakes/tone",
}
UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".py")


def system() -> SpeechTextLM:
    made = tiny_system(seed=5)
    made.components = dict(COMPONENTS)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_system(system(), tmp_path / "run", {"seed": 5})
    return tmp_path / "run"


def load(directory: Path) -> SpeechTextLM:
    return run_parts(directory).build_system(fake_registry())


def test_a_saved_system_does_what_it_did(run: Path) -> None:
    before, after = system(), load(run)
    sound = make_sounds()[1]
    for one, two in zip(before.encode(sound), after.encode(sound), strict=True):
        assert plain((one,)) == plain((two,))
    assert before.score(["a"], [" b", " c"]) == after.score(["a"], [" b", " c"])
    for to in ("text", "speech"):
        outs = [plain(found.generate(["hi"], to=to, max_new_tokens=12, seed=3)) for found in (before, after)]
        assert outs[0] == outs[1]
    document = before.encode(sound)
    np.testing.assert_array_equal(before.synthesize(document).samples, after.synthesize(document).samples)
    assert after.codec.fingerprint == before.codec.fingerprint and not after.backbone.training


def test_saving_again_gives_the_same_directory(run: Path, tmp_path: Path) -> None:
    again = load(run)
    save_system(again, tmp_path / "again", {"seed": 5})
    for path in sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file()):
        assert (tmp_path / "again" / path).read_bytes() == (run / path).read_bytes(), path


def test_the_record_holds_versions_hashes_and_the_config(run: Path) -> None:
    record = read_run_file(run)
    assert record["config"] == {"seed": 5} and record["components"] == COMPONENTS
    assert (
        record["libraries"]["torch"] == torch.__version__.split("+")[0]
        or record["libraries"]["torch"] == torch.__version__
    )
    assert record["plugins"]["stlm"] and record["codec_fingerprint"] == system().codec.fingerprint
    assert record["streams"] == {"energy": EnergyEncoder().fingerprint}


def test_nothing_in_a_run_directory_can_run(run: Path) -> None:
    assert not [path.name for path in run.rglob("*") if path.suffix in UNSAFE]


def test_saving_over_a_run_keeps_its_training_checkpoints(run: Path) -> None:
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_bytes(b"state")
    (run / "backbone" / "old-part.safetensors").write_bytes(b"stale")
    save_system(system(), run)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == b"state"
    assert not (run / "backbone" / "old-part.safetensors").exists()


def test_a_system_without_vocoder_is_saved_without(tmp_path: Path) -> None:
    made = system()
    made.vocoder = None
    made.components.pop("vocoder")
    save_system(made, tmp_path)
    assert load(tmp_path).vocoder is None


class Adapted(TinyBackbone, AdaptableBackbone):
    """Has an adapter until it is merged, and saves the merged model."""

    has_adapter = True

    def add_lora(self, options: LoraOptions) -> None: ...

    def save_lora(self, directory: Path) -> None:
        assert self.has_adapter
        (directory / "adapter.txt").write_text("small")

    def merge_lora(self) -> None:
        self.has_adapter = False

    def save(self, directory: Path) -> None:
        self.merge_lora()
        super().save(directory)


def test_an_adapter_is_saved_beside_the_merged_model_and_goes_with_it(tmp_path: Path) -> None:
    system = tiny_system()
    system.backbone = Adapted(len(system.codec.format.vocabulary))
    save_system(system, tmp_path)
    assert (tmp_path / "adapter" / "adapter.txt").exists() and (tmp_path / "backbone" / "model.safetensors").exists()
    save_system(system, tmp_path)
    assert not (tmp_path / "adapter").exists(), "it would not belong to the backbone beside it"


def test_codec_and_encoders_load_without_the_backbone(run: Path) -> None:
    (run / "backbone" / "model.safetensors").unlink()
    codec, encoders = run_parts(run).build_codec(fake_registry())
    assert set(encoders) == {"energy"} and codec.fingerprint == system().codec.fingerprint


def test_an_encoder_that_was_exchanged_is_noticed(run: Path) -> None:
    EnergyEncoder(levels=4).save(run / "encoders" / "energy")
    with pytest.raises(
        FormatError, match=f"stream 'energy' was trained as {EnergyEncoder().fingerprint[:12]}, the encoder is"
    ):
        load(run)


def test_a_format_that_was_edited_is_noticed(run: Path) -> None:
    format = yaml.safe_load((run / "format.yaml").read_text())
    format["layouts"]["default"][0]["dedup"] = False
    (run / "format.yaml").write_text(yaml.safe_dump(format))
    with pytest.raises(FormatError, match=r"format.yaml was changed after training"):
        load(run)


def test_a_text_tokenizer_that_was_exchanged_is_noticed(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record.update(text_fingerprint="another", codec_fingerprint="another")
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match="the text tokenizer is not the one"):
        load(run)


def test_a_plugin_that_is_not_installed_is_named(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["components"]["backbone"] = "stlm-elsewhere/huge"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(PluginError, match="no backbone 'stlm-elsewhere/huge'"):
        load(run)


def change(run: Path, **values: object) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **values}))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda run: (run / "run.json").unlink(), DataError, "no run directory.*stlm train or stlm demo"),
        (lambda run: (run / "run.json").write_text("{"), DataError, "not valid JSON"),
        (
            lambda run: (run / "run.json").write_text('{"run_version": 99}'),
            FormatError,
            "run version 99, this stlm reads 1",
        ),
        (lambda run: (run / "format.yaml").unlink(), DataError, "cannot be read as a format"),
        (lambda run: (run / "format.yaml").write_text("blocks: ["), DataError, "cannot be read as a format"),
        (lambda run: (run / "text" / "bytes.txt").unlink(), DataError, "not a saved ByteText"),
        (lambda run: (run / "run.json").write_text("[]"), DataError, "list, expected a JSON object"),
        (lambda run: (run / "run.json").write_bytes(b'{"a": "\xe9"}'), DataError, "not valid JSON"),
        (lambda run: change(run, components=None), DataError, "components is None, expected an object of texts"),
        (lambda run: change(run, streams=["energy"]), DataError, "streams is .*expected an object of texts"),
        (lambda run: change(run, codec_fingerprint=None), DataError, "codec_fingerprint is None, expected text"),
        (lambda run: change(run, components={"text": 7}), DataError, "components is .*expected an object of texts"),
        (lambda run: (run / "format.yaml").write_text(""), DataError, "format.yaml: .*got NoneType"),
        (lambda run: (run / "format.yaml").write_bytes(b"x: \xe9"), DataError, "cannot be read as a format"),
        (lambda run: (run / "format.yaml").write_text("blocks: 3"), FormatError, "format.yaml: an entry is not of"),
        (lambda run: (run / "format.yaml").write_text("blocs: 3"), FormatError, "format.yaml: .*did you mean 'blocks'"),
    ],
)
def test_a_damaged_run_says_what_is_wrong(run: Path, damage, error: type[Exception], message: str) -> None:
    damage(run)
    with pytest.raises(error, match=message):
        load(run)


def test_a_library_that_is_missing_is_recorded_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LIBRARIES", ("numpy", "no-such-library"))
    found = checkpoint.installed_versions()
    assert found["no-such-library"] == "not installed" and found["numpy"] == np.__version__


@pytest.mark.parametrize("record", [None, "{}", '{"run_version": 1}'])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, record: str | None) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "thesis.txt").write_text("years of work")
    if record:
        (tmp_path / "run.json").write_text(record)
    made = system()
    for save in (save_system, lambda made, root: write_run_file(root, made.codec, made.components)):
        with pytest.raises(DataError, match=r"holds text, which saving would replace.*choose another directory"):
            save(made, tmp_path)
    assert (tmp_path / "text" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "format.yaml").exists()


def test_a_system_goes_into_a_directory_that_holds_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    save_system(system(), tmp_path)
    assert (tmp_path / "notes.md").read_text() == "mine" and load(tmp_path).vocoder is not None
