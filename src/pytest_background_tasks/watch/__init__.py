"""What went wrong in silence: background tasks that failed, leaked or were lost, found for the test that made them."""
