"""A trained system as a directory that other libraries load; nothing of stlm is needed to read it."""

from stlm.export.huggingface import export_huggingface

__all__ = ["export_huggingface"]
