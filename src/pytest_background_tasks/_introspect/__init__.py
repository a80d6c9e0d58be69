"""Reading code and suspended coroutines, without running code of the program under test."""
