"""A model measured on clips it was not trained on."""
