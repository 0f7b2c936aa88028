"""What the end-to-end tests are written with: models, an archive server, resources, waiting, traffic."""
