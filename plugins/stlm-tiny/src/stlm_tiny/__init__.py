"""The systems `tiny-base` and `tiny-expressive`: presets and formats for what the tutorial trains. Data only."""
