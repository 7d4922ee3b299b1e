"""Configurations: their schema, their composition, and the only translation into objects."""
