"""What to try first: programs that train models (`examples.train`) and the resources that put them into service."""
