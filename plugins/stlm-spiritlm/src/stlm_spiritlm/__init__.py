"""Spirit LM: presets of the released models, their token formats, and the official habits with strings."""
