"""What nobody should send: packs, requests, names and trees, each with the answer that it must get."""
