"""The digit model that ships."""
