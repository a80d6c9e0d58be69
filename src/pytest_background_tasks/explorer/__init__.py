"""Schedules, traces, the loop that plays a schedule, and the search for one that fails. Knows nothing of pytest.

It is not called ``explore`` because that is the decorator: the name of a submodule, once imported, would hide it.
"""
