"""What calls cost, and caps that they never exceed."""
