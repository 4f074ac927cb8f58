"""The commands, a module for each subject. Each reads its flags, asks the API and prints the answer."""
