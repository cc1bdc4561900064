"""How a file is to be read, as far as its beginning tells: nothing is guessed without saying so."""
