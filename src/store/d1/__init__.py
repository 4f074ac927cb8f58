"""D1 itself: statements, calls, and the columns of the rows that come back."""
