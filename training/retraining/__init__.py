"""``earful retrain``: plan, fine-tune, compare with the champion, promote."""
