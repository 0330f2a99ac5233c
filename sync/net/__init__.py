"""Value types of the network: address sets, port sets, and their algebra."""
