"""What encoder plugins share: streamed k-means, mel features, fingerprints. Torch; import the modules you need."""
