"""One network a file, and the zoo that names them."""
