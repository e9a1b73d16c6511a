"""``--model auto``: a short contest between the networks that fit the data."""
