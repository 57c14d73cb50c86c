"""What tests say of placebos, where there is nothing to find: control 12."""
