"""The monitor, which finds background tasks that failed, leaked or were garbage-collected, in every test."""
