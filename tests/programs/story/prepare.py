"""Makes what Git ignores, as one does once after a clone."""

import os

os.makedirs("data/letters", exist_ok=True)
with open("data/letters/train.bin", "wb") as file:
    file.write(b"it was a dark and stormy night, and the rain fell in torrents. " * 40)
