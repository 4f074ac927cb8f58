"""The work under one claim of a task. `run.Run` is the loop of a run, and the other modules are its parts."""
