"""Wake words for home automation, over the Wyoming protocol."""
