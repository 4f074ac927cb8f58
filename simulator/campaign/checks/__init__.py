"""What must hold, at each write and call and at the end."""
