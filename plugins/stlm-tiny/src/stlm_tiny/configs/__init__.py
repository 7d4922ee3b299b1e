"""Data only: token formats and presets."""
