"""Text from strangers: what of it may reach a terminal or a spreadsheet."""
