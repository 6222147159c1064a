"""The parts of reading an image: which layers to read next, and how to read one."""
