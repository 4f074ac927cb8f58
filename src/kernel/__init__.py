"""What every deployment has: it accepts, runs and shows a task whose text is stored with it."""
