"""Real kernels to test on: User-Mode Linux, systemd in it, and one emulated machine."""
