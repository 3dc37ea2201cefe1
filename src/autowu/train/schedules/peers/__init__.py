"""Published methods to compare with, a module for each: its authors' package, at its authors' defaults.

The modules import these packages, which the extra ``peers`` brings. Each has a function ``build``.
"""
