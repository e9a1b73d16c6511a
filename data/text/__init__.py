"""Text from strangers: which is read, and what of it may reach a terminal or a spreadsheet."""
