"""The pretrained weights of the speech encoder."""
