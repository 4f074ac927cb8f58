"""Cuts a text into chunks, counts the text's tokens, and plans how outputs are merged. Pure."""
