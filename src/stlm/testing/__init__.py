"""For plugin authors: contracts to subclass, fakes to build with, factories of data, goldens, import checks.

Needs pytest (``pip install stlm[dev]``); nothing of stlm itself imports this package.
"""
