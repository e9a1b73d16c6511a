"""The map of clips: embeddings, neighbours, the page."""
