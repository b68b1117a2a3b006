"""What every room may use: errors for people, files written whole, the allocator's settings."""
