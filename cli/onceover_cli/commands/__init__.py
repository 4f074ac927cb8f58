"""The commands, with a module for each subject. A command reads its flags, calls the API and prints the answer."""
