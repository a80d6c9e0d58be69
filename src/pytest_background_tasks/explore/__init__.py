"""Schedules, traces, the loop that plays a schedule, and the search for one that fails. Knows nothing of pytest."""
