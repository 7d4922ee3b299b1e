"""The systems `tiny-base` and `tiny-expressive`: presets, formats and weights of the tutorial. Data only."""
