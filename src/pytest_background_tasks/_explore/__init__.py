"""Schedules, traces, the event loop that runs a schedule, and the search for a failing one. Does not know pytest.

The package is not called ``explore``: an imported submodule of that name would hide the decorator.
"""
