"""``earful map``: embeddings, neighbours, outliers and the HTML page."""
