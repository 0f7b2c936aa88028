"""What the server was told: flags, the files that they name, and the settings that follow from them."""
