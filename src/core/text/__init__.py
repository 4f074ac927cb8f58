"""Cuts a text into chunks, counts its tokens, and plans how outputs are merged. Pure."""
