"""Sources that other libraries keep: Hugging Face datasets and lhotse cuts. Each is imported when it is used."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_sources() -> list[Component]:
    return [
        Component(
            name="hf_datasets",
            factory="stlm_datasets.hf_datasets:build",
            config="stlm_datasets.hf_datasets:Config",
            summary="a Hugging Face dataset, of the hub or saved; needs stlm-datasets[hf]",
        ),
        Component(
            name="lhotse",
            factory="stlm_datasets.lhotse_cuts:build",
            config="stlm_datasets.lhotse_cuts:Config",
            summary="lhotse cuts with text, speakers and word times; needs stlm-datasets[lhotse]",
        ),
    ]
