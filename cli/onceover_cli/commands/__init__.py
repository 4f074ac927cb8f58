"""The commands of `onceover`, with a module for each subject.

A command of `onceover` reads its flags, calls the API and prints the answer.
"""
