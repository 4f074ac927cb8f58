"""How a text is cut into chunks, how many tokens it has, and how outputs are merged. Pure."""
