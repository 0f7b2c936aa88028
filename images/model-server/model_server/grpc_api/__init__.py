"""The gRPC port. Not named `grpc`, so that nothing can mistake it for the library."""
