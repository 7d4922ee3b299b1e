"""Let a model go on: stlm generate runs/demo/interleaved --text "The doctor" --speech a.wav --to speech --out DIR.

Prompts keep the order of --text and --speech on the command line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stlm.cli.system import add_system_arguments, open_system


class _Append(argparse.Action):
    """Collects --text and --speech in one list, in order."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        namespace.prompt = [*(namespace.prompt or []), (self.dest, str(values))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_system_arguments(parser, positional=True)
    parser.add_argument("--text", action=_Append, help="a piece of text; may be repeated")
    parser.add_argument("--speech", action=_Append, help="an audio file; may be repeated")
    parser.add_argument("--task", choices=["asr", "tts"], help="put the task marker first, for models tuned to it")
    parser.add_argument("--to", choices=["text", "speech", "any"], default="any", help="modality of the output")
    parser.add_argument("--max-new-tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.8, help="0 for greedy")
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stream", action="store_true", help="print text as it is written")
    parser.add_argument("--out", type=Path, help="directory for spoken output")
    parser.add_argument("--voice", help="one of the vocoder's voices, for spoken output")
    parser.add_argument("--style", help="one of the vocoder's styles, for spoken output")
    parser.set_defaults(prompt=None)


def run(arguments: argparse.Namespace) -> int:
    from stlm.generate import GenerationOptions
    from stlm.system import SpeechFile
    from stlm.types import Marker, TextSpan

    system = open_system(arguments).build_system(device=arguments.device)
    options = GenerationOptions(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    pieces = [SpeechFile(value) if kind == "speech" else value for kind, value in arguments.prompt or ()]
    prompt = system.document(pieces)
    if arguments.task:
        prompt = (Marker(name=f"[{arguments.task.upper()}]"), *prompt)
    if arguments.stream:
        document = _stream(system, prompt, arguments.to, options)
    else:
        document = system.generate_batch([prompt], to=arguments.to, options=options)[0]
        for span in document:
            print(span.text if isinstance(span, TextSpan) else system.codec.to_string((span,)))
    if arguments.out is not None:
        _save(system, document, arguments)
    return 0


def _stream(system, prompt, to, options):  # type: ignore[no-untyped-def]
    from stlm.codec import StreamParser, TextDelta, UnitsDelta

    parser = StreamParser(system.codec)
    for delta in system.stream(prompt, to=to, options=options, parser=parser):
        if isinstance(delta, TextDelta):
            print(delta.text, end="", flush=True)
        elif isinstance(delta, UnitsDelta):
            print(system.codec.to_string((delta.units,)), end="", flush=True)
    print()
    return parser.document


def _save(system, document, arguments: argparse.Namespace) -> None:  # type: ignore[no-untyped-def]
    from stlm.codec import align
    from stlm.types import UnitSpan

    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for number, span in enumerate(span for span in document if isinstance(span, UnitSpan)):
        path = out / f"speech-{number:02d}.wav"
        audio = system.speak(align(span, system.codec.format.layout(span.layout)), arguments.voice, arguments.style)
        audio.save(path)
        print(f"{path}: {audio.seconds:.2f} s")
