"""Tools that models may call: how calls are read, checked, run and kept within limits.

Invariant: what a model writes is data; it runs only as a call of a tool that was offered, with
arguments that fit the tool's schema. Importing this package imports no torch.
"""
